"""A site: the static assets of a version, what is said about them, and the rules that serve them."""
