"""The shard actor: one device, one model replica and a copy of every block."""
