"""Supervised workerd processes: cells, the upload check, and what the cells ask of us."""
