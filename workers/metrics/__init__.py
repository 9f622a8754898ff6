"""Keeps the cluster's totals and puts a sample of them on the queue each minute."""
