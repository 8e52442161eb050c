"""Trials of a sweep: their table, and the best points of the grid."""

from wellread_hf.trials.grid import Point, best_points, points
from wellread_hf.trials.table import TABLE, Trial, TrialTable

__all__ = ["TABLE", "Point", "Trial", "TrialTable", "best_points", "points"]
