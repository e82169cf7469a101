"""The service: many teams at once behind Ray Serve."""
