"""Databases that functions reach by a stored configuration: `hyperdrive` bindings."""
