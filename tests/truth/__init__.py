"""Whether a success is ever answered while it is not so: generated answers against a true state."""
