"""Where shards are placed on a Ray cluster, and what is cleaned up after them."""
