"""State cells: one process per account that keeps its KV namespaces, databases and queues."""
