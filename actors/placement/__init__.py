"""Placement of shards on a Ray cluster, and cleanup after a driver that died."""
