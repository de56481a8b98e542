"""A site: the static assets of a version and the rules by which they are served."""
