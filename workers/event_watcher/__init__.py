"""Watches events, pods and nodes, selects what matters, puts it on the queue."""
