"""How the new K and V and the outcome of a step reach every shard."""
