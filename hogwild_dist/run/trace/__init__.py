"""Traces of runs: written, read and replayed."""
