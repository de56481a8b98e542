"""KV namespaces, D1 databases and queues: what can be done with them."""
