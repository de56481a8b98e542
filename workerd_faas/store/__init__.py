"""What outlives the process: the SQLite catalog and the bundle directory."""
