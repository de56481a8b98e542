"""The client's side of the management API: HTTP, login, credentials, documents."""
