"""One table, the same rows in three forms."""

import csv
import io

import pytest

from wellread_hf.results.tables import Table

TABLE = Table(
    ["name", "score [95 % interval]", "rank"],
    [["a|b", "**80.0** [79, 81]", None], ["c, d", 1.5, 8]],
    ["[note]"],
)


def test_markdown_keeps_strokes_within_their_cell() -> None:
    assert TABLE.markdown.splitlines() == [
        "| name | score [95 % interval] | rank |",
        "| --- | --- | --- |",
        "| a\\|b | **80.0** [79, 81] |  |",
        "| c, d | 1.5 | 8 |",
        "",
        "- [note]",
    ]


def test_csv_comes_back_as_it_went_in() -> None:
    rows = list(csv.reader(io.StringIO(TABLE.csv)))
    assert rows == [list(TABLE.head), ["a|b", "**80.0** [79, 81]", ""], ["c, d", "1.5", "8"]]


def test_the_terminal_shows_brackets_as_they_are_and_no_asterisks(capsys: pytest.CaptureFixture[str]) -> None:
    TABLE.show("title [x]")
    shown = capsys.readouterr().out
    for words in ("title [x]", "score [95 % interval]", "a|b", "80.0 [79, 81]", "- [note]"):
        assert words in shown
    assert "*" not in shown
