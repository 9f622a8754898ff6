"""Nodes without machines, for any cluster: they register, beat, start and end pods through the API, and run nothing."""
