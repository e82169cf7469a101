"""Attention over shared blocks: the function that transformers calls, step plans, kernels."""
