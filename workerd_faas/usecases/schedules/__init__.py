"""Functions that are called by the clock."""
