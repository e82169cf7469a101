"""Small operations of a layer, each as one launch on a GPU in place of several."""
