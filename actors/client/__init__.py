"""How a program starts, finds and uses a group of shards."""
