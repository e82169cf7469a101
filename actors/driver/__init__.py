"""The driver actor: starts shards, numbers commands, keeps the journal."""
