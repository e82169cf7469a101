"""One problem from start to end: stream its events and read its result."""
