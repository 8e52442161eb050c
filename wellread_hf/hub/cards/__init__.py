"""Model cards: records of finished stages become facts, facts become Markdown, and nothing else does."""

from wellread_hf.hub.cards.facts import Facts
from wellread_hf.hub.cards.render import Card, render
from wellread_hf.hub.cards.run_facts import facts_of_run, facts_of_student, finished_stage
from wellread_hf.results.lineage import MODELS

__all__ = ["MODELS", "Card", "Facts", "facts_of_run", "facts_of_student", "finished_stage", "render"]
