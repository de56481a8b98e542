"""Measurements, as ratios within one run: absolute figures of one machine say little of another."""
