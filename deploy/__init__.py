"""Command line, jobs, clusters and the service."""
