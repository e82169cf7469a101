"""The durable log of a driver: the facts of its journal in a folder, for the driver after it."""
