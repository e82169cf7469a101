"""Routes, middleware and dependencies of the HTTP interface."""
