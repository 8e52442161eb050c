"""What the picture shows: ours against the release's on the very same tasks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_stages import Root, chain

from wellread_hf.hub.cards import Facts, facts_of_run, facts_of_student, picture
from wellread_hf.results.figures import Mark
from wellread_hf.students import Student

Series = dict[str, list[Mark]]


def drawn(facts: Facts) -> tuple[tuple[int, str], Series, list[Mark], str]:
    """Returns what is handed to the chart: this, ours, the release's, the axis."""
    seen: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picture, "draw_family", lambda *arguments: seen.extend(arguments) or b"")
        picture.draw(facts)
    this, ours, release, axis = seen
    return this, ours, release.get("PF, the release (Google) on test", []), axis


def test_without_scores_of_ours_the_release_is_alone() -> None:
    this, ours, release, axis = drawn(facts_of_student(Student(6, 512)))
    assert this == (35_363_644, "bert-6-512")
    assert ours == {}
    assert [(mark.name, mark.mean) for mark in release] == [
        ("tiny", 64.2),
        ("mini", 65.8),
        ("small", 71.2),
        ("medium", 73.5),
    ]
    assert axis == "GLUE score on test"


def test_ours_and_theirs_are_means_over_the_same_tasks(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.pack()
    encoder, labels = root.pretrain(), root.label()
    for seed in (0, 1):
        root.tuned(encoder, 0.80 + 0.02 * seed, seed)
        record = root.tuned(encoder, 0.70, seed, task={"name": "mrpc"})
        scores = {"f1": 0.76 + 0.02 * seed, "accuracy": 0.5}
        outcome = {**record.outcome, "metric": "f1", "validation": scores}
        replace(record, outcome=outcome).write(root.folder(record))
    # PD was scored on one of the two tasks and has no mean over both.
    root.tuned(encoder, 0.99, 0, labels)
    _, ours, release, axis = drawn(facts_of_run(root.folder(encoder)))
    ((label, (mark,)),) = ours.items()
    assert label == "PF, this model on dev"
    # Seeds: (80 + 76) / 2 = 78 and (82 + 78) / 2 = 80; each 1 from 79, the root of 2 / 1 is 1.41.
    assert mark.mean == pytest.approx(79)
    assert mark.spread == pytest.approx(2**0.5)
    # SST-2 83.2 and the F1 of MRPC, 81.1.
    assert release[0].mean == pytest.approx((83.2 + 81.1) / 2)
    assert axis == "mean of MRPC, SST-2 (%)"


def test_a_task_student_comes_first(tmp_path: Path) -> None:
    facts = facts_of_run(Root(tmp_path).folder(chain(tmp_path)["pd"]))
    labels = list(drawn(facts)[1])
    assert labels[0] == "PD, this model on dev"
    assert sorted(labels[1:]) == [f"{name}, ours on dev" for name in ("Basic", "Distillation", "PD-F", "PF")]


def test_a_task_of_ones_own_has_no_published_scores(tmp_path: Path) -> None:
    root = Root(tmp_path)
    record = root.tuned(None, 0.8, task={"name": "$mine$", "columns": ["x"], "content": ["sha256:ab"]})
    _, ours, release, axis = drawn(facts_of_run(root.folder(record)))
    assert len(ours) == 1
    assert release == []
    assert axis == "own task: accuracy (%)"
