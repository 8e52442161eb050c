"""A grid of runs over students, tasks, methods, learning rates, batch sizes, seeds; the best by dev."""
