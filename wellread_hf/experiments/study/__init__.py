"""Studies: the paper's findings put to the test, every arm under one budget over several seeds."""
