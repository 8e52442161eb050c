"""Model cards: records of finished stages become facts, facts become Markdown, and nothing else does."""

from wellread_hf.hub.cards.checks import check_card, check_metadata
from wellread_hf.hub.cards.facts import Facts
from wellread_hf.hub.cards.gather import facts_of_run, facts_of_student
from wellread_hf.hub.cards.render import Card, render

__all__ = [
    "Card",
    "Facts",
    "check_card",
    "check_metadata",
    "facts_of_run",
    "facts_of_student",
    "render",
]
