"""Soft labels: what any teacher says of a transfer set, and the store that keeps it."""
