"""The local queue: a durable, leased, bounded broker on a Unix socket, its client and an in-memory twin."""
