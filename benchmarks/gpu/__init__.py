"""Checks and measurements on one GPU; see `__main__.py`."""
