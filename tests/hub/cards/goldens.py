"""The cards of three small roots, kept as files; `python tests/hub/cards/goldens.py` writes them anew."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from small_stages import Root, chain

from wellread_hf.hub.cards import Facts, facts_of_run

GOLDEN = Path(__file__).parent / "golden"


def pretrained(root: Path) -> Facts:
    records = chain(root)
    return facts_of_run(Root(root).folder(records["encoder"]), namespace="readers")


def task_student(root: Path) -> Facts:
    records = chain(root)
    return facts_of_run(Root(root).folder(records["pd"]), namespace="readers")


def adopted(root: Path) -> Facts:
    here = Root(root)
    record = here.adopt()
    here.tuned(record, 0.83)
    return facts_of_run(here.folder(record))


def shipped(root: Path) -> Facts:
    """A student of a public task, exported, measured and evaluated, beside another one of its task."""
    here = Root(root)
    encoder = here.adopt()
    student = here.tuned(encoder, 0.82)
    here.evaluated(student, [[-0.5, 0.5], [1.0, 0.0]])
    other = here.tuned("hub:google/bert_uncased_L-4_H-256_A-4@main", 0.84, student="bert-4-256")
    here.evaluated(other, [[-1.0, 2.0], [0.0, 1.0]])
    here.exported(student)
    here.measured(student)
    return replace(facts_of_run(here.folder(student), namespace="readers"), beside=("bert-4-256-sst2",))


CARDS: dict[str, Callable[[Path], Facts]] = {
    "pretrained": pretrained,
    "task_student": task_student,
    "adopted": adopted,
    "shipped": shipped,
}

if __name__ == "__main__":
    from wellread_hf.hub.cards import render

    for name, facts_in in CARDS.items():
        with tempfile.TemporaryDirectory() as folder:
            (GOLDEN / f"{name}.md").write_text(render(facts_in(Path(folder))).markdown, encoding="utf-8")
