"""Sessions as the service's clients see them: names, parameters, JSON and events."""
