"""The public port: whose host it is, HTTP/1.1 framing, and the relay to cells and the API."""
