"""The OpenID Connect relying party: calls to the installation's identity provider."""
