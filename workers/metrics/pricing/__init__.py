"""What a node costs an hour, and where the figure comes from."""
