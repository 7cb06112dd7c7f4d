"""What other systems call: HTTP, keys, limits, metrics, pages, the command line and the client."""
