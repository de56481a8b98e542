"""Restarting cells."""
