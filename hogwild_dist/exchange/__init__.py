"""Brings new keys, values and step results to every shard."""
