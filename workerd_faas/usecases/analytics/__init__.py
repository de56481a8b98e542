"""Data points that functions write: kept, bounded, counted."""
