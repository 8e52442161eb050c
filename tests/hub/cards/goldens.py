"""The cards of three small roots, kept as files; `python tests/hub/cards/goldens.py` writes them anew."""

import tempfile
from collections.abc import Callable
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


CARDS: dict[str, Callable[[Path], Facts]] = {
    "pretrained": pretrained,
    "task_student": task_student,
    "adopted": adopted,
}

if __name__ == "__main__":
    from wellread_hf.hub.cards import render

    for name, facts_in in CARDS.items():
        with tempfile.TemporaryDirectory() as folder:
            (GOLDEN / f"{name}.md").write_text(render(facts_in(Path(folder))).markdown, encoding="utf-8")
