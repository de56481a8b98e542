"""Wrangler's configuration files, read as Wrangler reads them."""
