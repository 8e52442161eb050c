"""GLUE's metrics as an `evaluate` module."""
