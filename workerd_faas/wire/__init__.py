"""Documents, paths and header names that the daemon, the CLI and the router Worker share."""
