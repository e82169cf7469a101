"""The Ray Serve replicas that hold groups of shards."""
