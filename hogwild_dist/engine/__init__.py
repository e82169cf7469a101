"""One model, one cache, any number of sessions, one forward pass a step."""
