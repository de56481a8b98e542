"""Copies of an installation: made while the daemon runs, put back on an empty machine."""
