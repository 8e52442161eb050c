"""`wellread card`: what it writes, and where; what it refuses."""

import sys
from pathlib import Path

import pytest
from recipe_runs import Ran
from small_stages import Root, chain

from wellread_hf.cli.wellread import main
from wellread_hf.hub.cards import facts_of_student, render
from wellread_hf.students import STUDENTS, Student


def card(capsys: pytest.CaptureFixture[str], *options: object) -> Ran:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["wellread", "card", *map(str, options)])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
    return Ran(status, *capsys.readouterr())


def test_a_runs_card_lies_beside_its_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Root(tmp_path).folder(chain(tmp_path)["pd"])
    ran = card(capsys, folder, "--namespace", "me", "--eval-results")
    assert ran.status == 0, ran.err
    written = [folder / name for name in ("README.md", "scores.png", ".eval_results/glue.yaml")]
    assert ran.out.splitlines() == [str(path) for path in written]
    assert all(path.stat().st_size for path in written)
    assert not list(folder.rglob("*.part"))
    assert 'model = "me/bert-2-128-sst2"' in written[0].read_text(encoding="utf-8")


def test_a_students_card_goes_to_the_given_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = card(capsys, "mini", "--out", tmp_path / "a" / "b", "--name", "my-mini")
    assert ran.status == 0, ran.err
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["README.md", "scores.png"]
    expected = render(facts_of_student(Student(4, 256), name="my-mini"))
    assert (tmp_path / "a" / "b" / "README.md").read_bytes() == expected.files["README.md"]


def test_all_writes_the_24(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = card(capsys, "--all", "--out", tmp_path)
    assert ran.status == 0, ran.err
    assert {path.name for path in tmp_path.iterdir()} == {f"{student.name}.md" for student in STUDENTS}
