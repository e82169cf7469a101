"""The HTTP service: many teams at once, on Ray Serve."""
