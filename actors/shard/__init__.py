"""The shard actor: owns a device, a model replica and a copy of every block."""
