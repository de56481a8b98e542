"""Nouns and rules: standard library and attrs only, no Twisted, no I/O."""
