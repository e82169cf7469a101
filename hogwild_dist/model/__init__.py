"""A transformers model made ready: loading, compatibility, self-check, forward pass, sampling."""
