"""Traces: recordings of runs, which can be replayed and compared."""
