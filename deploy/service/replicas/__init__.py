"""Ray Serve replicas, each of which manages one group of shards."""
