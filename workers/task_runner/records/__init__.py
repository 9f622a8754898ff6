"""What is claimed, what waits, what was done."""
