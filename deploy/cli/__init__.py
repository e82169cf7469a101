"""The `hogwild` command."""
