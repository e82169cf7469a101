"""Attention driven by tables of whole numbers, which say which query tokens read which keys."""
