"""One file of routes per noun; each exposes a `router`, and `service.app` includes them from one table."""
