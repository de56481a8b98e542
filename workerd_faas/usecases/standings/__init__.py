"""How functions stand: suspects, quarantines, limits."""
