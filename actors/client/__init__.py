"""Clients that start, find and use a group of shards."""
