"""Finished runs as tables, charts and submissions."""
