"""Hosts the queue; answers /health, /ready, /metrics, /status and the status page."""
