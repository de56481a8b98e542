"""The public port: host routing and the HTTP/1.1 relay."""
