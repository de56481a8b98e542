"""Signpost for twistd."""
