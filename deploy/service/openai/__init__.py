"""Chat completions in OpenAI's format."""
