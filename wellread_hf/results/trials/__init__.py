"""Trials of a sweep: their table, and the best points of the grid."""

from wellread_hf.results.trials.grid import Point, best_points, points
from wellread_hf.results.trials.table import TABLE, State, Trial, TrialTable

__all__ = ["TABLE", "Point", "State", "Trial", "TrialTable", "best_points", "points"]
