"""What an operator decides: one table of settings, read from options, environment and a file."""
