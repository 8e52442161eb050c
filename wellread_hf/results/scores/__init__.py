"""Dev scores of all runs in one table: on the screen, as CSV, as Markdown, as a picture."""

from wellread_hf.results.scores.command import show_scores

__all__ = ["show_scores"]
