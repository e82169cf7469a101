"""Exchange of new keys and values, and of step outcomes, between the shards of a group."""
