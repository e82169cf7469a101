"""The command line, the service, and the files that deploy them."""
