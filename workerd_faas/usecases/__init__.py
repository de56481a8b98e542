"""Verbs of the platform, and the ports (`usecases.ports`) that they need."""
