"""Fakes worth sharing: real, named classes that implement the ports."""
