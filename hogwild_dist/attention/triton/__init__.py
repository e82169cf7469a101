"""Attention over all blocks of a step in two Triton launches a layer, driven by device tables."""
