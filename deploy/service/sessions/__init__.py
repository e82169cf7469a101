"""Sessions as clients of the service see them."""
