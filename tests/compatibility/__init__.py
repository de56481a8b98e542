"""
The same Worker here and in `wrangler dev --local`, which runs Miniflare and the real workerd: the
same bytes. What differs is declared in `differences.py`, and docs/compatibility.md says it.
"""
