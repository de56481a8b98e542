"""`wrkst`, the developer's command. Knows `wire`, not the server."""
