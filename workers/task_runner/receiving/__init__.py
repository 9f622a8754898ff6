"""What arrives, and whether it is a task."""
