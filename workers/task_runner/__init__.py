"""Receives tasks, executes them, puts their results on the queue."""
