"""Hosts the queue; answers /health, /ready and /metrics."""
