"""Ray actors: clients, drivers, shards and their placement."""
