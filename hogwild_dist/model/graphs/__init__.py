"""Decode steps on fixed buffers: replayed as CUDA graphs on a GPU, called as they are on a CPU."""
