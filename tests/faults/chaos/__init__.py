"""Many faults, drawn from a seed, of shards and of their driver."""
