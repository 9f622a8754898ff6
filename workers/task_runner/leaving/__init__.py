"""How pods go: what is decided about each, what is seen of each, and asking them to leave."""
