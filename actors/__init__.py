"""Ray actors: driver, shards, placement."""
