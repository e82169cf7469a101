"""Runs of a team on one problem, and recordings of them."""
