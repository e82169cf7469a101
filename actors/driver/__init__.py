"""The driver actor: starts shards, numbers commands and keeps the journal."""
