"""The log of functions: live tails, and what is kept of it for a while."""
