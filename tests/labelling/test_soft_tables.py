"""Tables of soft labels: every format gives the same store, and rows that are wrong are refused by number."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, log_softmax, logit, softmax

from wellread_hf.data.corpus import Source
from wellread_hf.errors import DataError, LabelError
from wellread_hf.labelling.distributions import FLOOR, filled_up, log_probabilities, single_label
from wellread_hf.labelling.soft_labels import text_hashes
from wellread_hf.labelling.tables import Reading, SoftTable, read_table, rows_of
from wellread_hf.settings import Imported
from wellread_hf.store.stage import Location
from wellread_hf.tasks import TaskFacts

CLASSES = ("bad", "so_so", "good")
FACTS = TaskFacts(columns=("text",), labels=CLASSES)
SEVERAL = TaskFacts(columns=("text",), labels=CLASSES, multi_label=True)
VALUE = TaskFacts(columns=("text",), labels=())
TEXTS = ("one", "two", "three", "four")

Rows = Sequence[Mapping[str, Any]]


def write(path: Path, rows: Rows) -> Path:
    """Writes rows as the ending of a file says; CSV has lists and dictionaries as JSON text."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerow(rows[0])
            for row in rows:
                writer.writerow(
                    [json.dumps(value) if isinstance(value, list | dict) else value for value in row.values()]
                )
    return path


def read(path: Path, facts: TaskFacts = FACTS, named: Sequence[str] = (), stated: bool = True,
         most: int | None = None, **imported: Any) -> SoftTable:  # fmt: skip
    location = Location(name=str(path), revision=None, fingerprint="", repo_type="dataset")
    reading = Reading(
        imported=Imported(source=str(path), **imported),
        source=Source(name=str(path)),
        facts=facts,
        label="label",
        named=named,
        stated=stated,
    )
    return read_table(reading, location, most)


def in_order(table: SoftTable, texts: Sequence[str] = TEXTS) -> np.ndarray:
    return table.logits[rows_of(table, [(text,) for text in texts], "the table")]


def rows(column: Callable[[np.ndarray], Mapping[str, Any]], values: np.ndarray) -> Rows:
    return [{"text": text, **column(row)} for text, row in zip(TEXTS, values, strict=False)]


def by_class(values: np.ndarray) -> dict[str, float]:
    return dict(zip(CLASSES, values.tolist(), strict=True))


logits = arrays(np.float64, (4, 3), elements=st.floats(-60, 60, width=32))


@given(logits, st.sampled_from([1, 2, 0.5]), st.sampled_from([0, 0.1]))
@settings(deadline=None)
def test_probabilities_are_stored_as_the_logits_that_they_were_made_of(
    found: np.ndarray, temperature: float, smoothing: float
) -> None:
    with np.errstate(divide="ignore"):
        theirs = single_label(np.log(softmax(found, axis=1)), temperature, smoothing)
    ours = single_label(found, temperature, smoothing)
    np.testing.assert_array_equal(ours, theirs)
    expected = (1 - smoothing) * softmax(found / temperature, axis=1) + smoothing / 3
    np.testing.assert_allclose(np.exp(ours.astype(np.float64)), expected, rtol=2e-5, atol=1.5 * FLOOR)


def test_differences_between_two_numbers_of_fp32_are_rounded_alike() -> None:
    """Without fewer digits on the way some of these differed, as (13.415, -19.872) did."""
    found = np.random.default_rng(0).normal(scale=15, size=(200_000, 2)).astype(np.float32).astype(np.float64)
    theirs = single_label(np.log(softmax(found, axis=1)), 1, 0)
    assert (single_label(found, 1, 0) == theirs).all()


@given(logits)
def test_log_probabilities_are_those_of_scipy(found: np.ndarray) -> None:
    np.testing.assert_allclose(log_probabilities(found), log_softmax(found, axis=1), rtol=1e-13, atol=1e-15)


def test_a_sure_row_keeps_its_digits() -> None:
    """Of 1 - 1e-12 a float keeps four digits; that of the other class has them all."""
    ours = single_label(np.log([[1e-12, 1 - 1e-12]]), 1, 0)
    assert ours[0, 1] == np.float32(np.log1p(-1e-12))


FORMATS: Mapping[str, tuple[str, Callable[[np.ndarray], Mapping[str, Any]], dict[str, Any]]] = {
    "a column a class, in another order": (
        "csv",
        lambda p: {"P_Good": p[2], "p_bad": p[0], "p_so-so": p[1]},
        {},
    ),
    "with an end": ("tsv", lambda p: {f"{name}.prob": p for name, p in by_class(p).items()}, {}),
    "beside others": (
        "parquet",
        lambda p: {"id": 7, **{f"p_{name}": p for name, p in by_class(p).items()}, "label": "good"},
        {},
    ),
    "columns that are named": (
        "jsonl",
        lambda p: {"a_bad": p[0], "a_so_so": p[1], "a_good": p[2], "b_bad": 0, "b_so_so": 0, "b_good": 0},
        {"columns": ("a_good", "a_bad", "a_so_so")},
    ),
    "columns of other names": (
        "csv",
        lambda p: {"LABEL_0": p[2], "LABEL_1": p[0], "LABEL_2": p[1]},
        {"columns": ("LABEL_0", "LABEL_1", "LABEL_2"), "named": ("good", "bad", "so so")},
    ),
    "dictionaries": ("jsonl", lambda p: {"soft": by_class(p)}, {}),
    "answers of a pipeline": (
        "jsonl",
        lambda p: {"soft": [{"label": name, "score": x} for name, x in by_class(p).items()][::-1]},
        {},
    ),
    "dictionaries as text": ("csv", lambda p: {"soft": by_class(p)}, {}),
    "structs": ("parquet", lambda p: {"soft": by_class(p), "label": 0}, {"columns": ("soft",)}),
    "an array of objects": ("json", lambda p: {"soft": by_class(p)}, {}),
    "lists": ("parquet", lambda p: {"soft": p.tolist()}, {}),
    "lists as text, in another order": (
        "csv",
        lambda p: {"soft": p[::-1].tolist()},
        {"named": ("good", "so_so", "bad"), "stated": False},
    ),
    "logits": ("jsonl", lambda p: {"soft": (np.log(p) + 3).tolist()}, {"kind": "logits"}),
    "logits by class": (
        "csv",
        lambda p: {f"logit_{name}": x for name, x in by_class(np.log(p) - 2).items()},
        {"kind": "logits"},
    ),
    "log-probabilities of all": ("jsonl", lambda p: {"top": by_class(np.log(p))}, {"kind": "top-k"}),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_store(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    ending, column, how = FORMATS[name]
    place = tmp_path_factory.mktemp("tables") / f"soft.{ending}"

    @given(arrays(np.float64, (4, 3), elements=st.floats(-20, 20, width=16)))
    @settings(deadline=None, max_examples=10)
    def same(found: np.ndarray) -> None:
        chances = softmax(found, axis=1)
        stored = in_order(read(write(place, rows(column, chances)), **how))
        # A shift of logits loses digits, which no other format does.
        exact = "logits" not in name
        np.testing.assert_allclose(stored, single_label(found, 1, 0), rtol=0 if exact else 1e-6, atol=0)

    same()


def test_what_is_not_listed_shares_the_rest(tmp_path: Path) -> None:
    top = [{"good": np.log(0.7)}, {"good": np.log(0.6), "bad": np.log(0.3)}, {"bad": np.log(1.0005)}]
    expected = [[0.15, 0.15, 0.7], [0.3, 0.1, 0.6], [1, FLOOR, FLOOR]]
    for ending in ("jsonl", "csv", "parquet"):
        table = [{"text": text, "top": row} for text, row in zip(TEXTS, top, strict=False)]
        stored = in_order(read(write(tmp_path / f"top.{ending}", table), kind="top-k"), TEXTS[:3])
        np.testing.assert_allclose(np.exp(stored), expected, rtol=1e-5)
    # Where all classes are listed, none is left to share.
    assert np.allclose(softmax(filled_up(np.log([[0.1, 0.1, 0.2]])), axis=1), [[0.25, 0.25, 0.5]])


VOTES: Mapping[str, tuple[str, Callable[[Sequence[str]], Mapping[str, Any]], dict[str, Any]]] = {
    "lists": ("jsonl", lambda votes: {"votes": list(votes)}, {}),
    "lists as text": ("csv", lambda votes: {"votes": list(votes)}, {}),
    "counts": ("jsonl", lambda votes: {"votes": {name: votes.count(name) for name in set(votes)}}, {}),
    "counts by class": ("csv", lambda votes: {f"n_{name}": votes.count(name) for name in CLASSES}, {}),
    "a column an annotator": (
        "csv",
        lambda votes: {name: vote for name, vote in zip("abcd", [*votes, "", ""], strict=False)},
        {"columns": tuple("abcd")},
    ),
    "numbers": ("parquet", lambda votes: {"votes": [CLASSES.index(vote) for vote in votes]}, {}),
    "other case": ("jsonl", lambda votes: {"votes": [vote.upper().replace("_", " ") for vote in votes]}, {}),
}


@pytest.mark.parametrize("name", VOTES)
def test_votes_become_shares(tmp_path: Path, name: str) -> None:
    ending, column, how = VOTES[name]
    votes = [["good", "good", "bad", "so_so"], ["bad", "bad"], ["so_so", "bad"], ["good", "bad", "bad"]]
    table = [{"text": text, **column(each)} for text, each in zip(TEXTS, votes, strict=True)]
    path = write(tmp_path / f"votes.{ending}", table)
    shares = [[0.25, 0.25, 0.5], [1, 0, 0], [0.5, 0.5, 0], [2 / 3, 0, 1 / 3]]
    np.testing.assert_allclose(
        np.exp(in_order(read(path, kind="votes", **how))), shares, rtol=1e-6, atol=FLOOR
    )
    smoothed = np.exp(in_order(read(path, kind="votes", smoothing=0.3, **how)))
    np.testing.assert_allclose(smoothed, 0.7 * np.array(shares) + 0.1, rtol=1e-6)


def test_votes_of_one_text_in_several_rows_are_added_up(tmp_path: Path) -> None:
    votes = [("one", "good"), ("two", "bad"), ("one", "good"), ("one", "so_so"), ("two", "bad")]
    rows = [{"text": text, "by": vote} for text, vote in votes]
    path = write(tmp_path / "long.csv", rows)
    found = read(path, kind="votes", columns=("by",))
    assert found.rows == 5
    listed = [{"text": "one", "by": ["good", "good", "so_so"]}, {"text": "two", "by": ["bad", "bad"]}]
    same = read(write(tmp_path / "lists.jsonl", listed), kind="votes", columns=("by",))
    np.testing.assert_array_equal(found.hashes, same.hashes)
    np.testing.assert_array_equal(found.logits, same.logits)


def test_a_data_sets_own_names_of_votes_and_maps_are_understood(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, List, Value

    # In an order of its own.
    names = ("good", "bad", "so_so")
    features = Features({"text": Value("string"), "votes": List(ClassLabel(names=names))})
    Dataset.from_dict({"text": ["one"], "votes": [[0, 0, 2]]}, features).to_parquet(
        tmp_path / "votes.parquet"
    )
    stored = in_order(read(tmp_path / "votes.parquet", kind="votes"), TEXTS[:1])
    np.testing.assert_allclose(np.exp(stored), [[0, 1 / 3, 2 / 3]], rtol=1e-6, atol=FLOOR)
    maps = pa.array([[("bad", 0.5), ("good", 0.5), ("so so", 0.0)]], pa.map_(pa.string(), pa.float64()))
    pq.write_table(pa.table({"text": ["one"], "soft": maps}), tmp_path / "maps.parquet")
    stored = in_order(read(tmp_path / "maps.parquet"), TEXTS[:1])
    np.testing.assert_allclose(np.exp(stored), [[0.5, 0, 0.5]], rtol=1e-6, atol=FLOOR)


def test_a_probability_of_0_has_a_finite_logit(tmp_path: Path) -> None:
    path = write(tmp_path / "sure.csv", rows(by_class, np.array([[1.0, 0, 0]])))
    assert in_order(read(path), TEXTS[:1]).tolist() == [[0, *[float(np.float32(np.log(FLOOR)))] * 2]]
    several = in_order(read(path, SEVERAL), TEXTS[:1])
    assert several.tolist() == [[float(np.float32(sign * np.log(FLOOR))) for sign in (-1, 1, 1)]]


@given(arrays(np.float64, (4, 3), elements=st.floats(-9, 9, width=32)))
@settings(deadline=None, max_examples=20)
def test_independent_classes_have_a_logit_each(
    tmp_path_factory: pytest.TempPathFactory, found: np.ndarray
) -> None:
    folder = tmp_path_factory.mktemp("several")
    path = write(folder / "p.csv", rows(by_class, expit(found)))
    np.testing.assert_allclose(in_order(read(path, SEVERAL)), found, rtol=1e-6, atol=1e-7)
    as_logits = write(folder / "z.jsonl", rows(lambda z: {"z": by_class(z)}, found))
    assert in_order(read(as_logits, SEVERAL, kind="logits")).tolist() == found.astype(np.float32).tolist()
    warm = in_order(read(as_logits, SEVERAL, kind="logits", temperature=2, smoothing=0.2))
    np.testing.assert_allclose(warm, logit(0.8 * expit(found / 2) + 0.1), rtol=1e-5, atol=1e-6)


def test_a_regression_has_a_number_a_row(tmp_path: Path) -> None:
    for column, others in (("score", {}), ("label", {"id": 7})):
        table = [{"text": text, column: value, **others} for text, value in (("one", "1.5"), ("two", "-2"))]
        path = write(tmp_path / "values.csv", table)
        assert in_order(read(path, VALUE), TEXTS[:2]).tolist() == [[1.5], [-2.0]]
    for how in ({"kind": "logits"}, {"temperature": 2}, {"smoothing": 0.1}):
        with pytest.raises(LabelError, match="taken as they are"):
            read(path, VALUE, **how)


GOOD = {"bad": 0.2, "so_so": 0.3, "good": 0.5}
REFUSED: Mapping[str, tuple[Any, dict[str, Any], str]] = {
    "sum": (
        {"bad": 0.2, "so_so": 0.3, "good": 0.4},
        {},
        r"add up to 1 \(within 0.001\), .* 2 rows: 3 \(0.9\), 5",
    ),
    "negative": ({"bad": -0.2, "so_so": 0.7, "good": 0.5}, {}, r"0 or more, .* 3 \(-0.2\), 5"),
    "above 1": ({"bad": 1.2, "so_so": 0, "good": 0}, {}, r"1 at most, .* 3 \(1.2\)"),
    "NaN": ({"bad": float("nan"), "so_so": 0.5, "good": 0.5}, {}, r"finite numbers, .* 3 \(nan\)"),
    "infinite": (
        {"bad": float("inf"), "so_so": 0.5, "good": 0.5},
        {"kind": "logits"},
        r"finite .* 3 \(inf\)",
    ),
    "null": (
        {"bad": None, "so_so": 0.5, "good": 0.5},
        {},
        r"number for 'bad', got something else in 2 rows: 3 \(none\)",
    ),
    "missing": ({"so_so": 0.5, "good": 0.5}, {}, r"number for 'bad', .* 3 \(none\)"),
    "unknown": ({"bad": 0.2, "so_so": 0.3, "fine": 0.5}, {}, r"among bad, so_so, good, .* 3 \('fine'\)"),
    "word": ({"bad": "high", "so_so": 0.5, "good": 0.5}, {}, r"3 \('high'\)"),
    "true": ({"bad": True, "so_so": 0, "good": 0}, {}, r"3 \(True\)"),
    "one class under two names": (
        {"bad": 0.2, "so_so": 0.3, "good": 0.2, "GOOD": 0.3},
        {},
        "3 .'GOOD' twice",
    ),
    "text": ("likely good", {}, r"dictionary of numbers by class or a list .* 'soft' .* 3 \('likely good'\)"),
    "short list": ([0.5, 0.5], {}, r"lists of 3 numbers, .* 3 \(one of 2\)"),
    "more than all": ({"bad": 0, "good": -1}, {"kind": "top-k"}, r"1 at most \(within .* 3 \(1.36788\)"),
    "none of all": ({}, {"kind": "top-k"}, r"at least one class, .* 3 \(0\)"),
    "no votes": ([], {"kind": "votes"}, r"at least one vote a row, .* 3 \(0\)"),
    "no votes, but withheld": ([None, -1], {"kind": "votes"}, r"at least one vote"),
    "negative votes": ({"bad": -1, "good": 2}, {"kind": "votes"}, r"numbers of votes, .* 3 \(-1\)"),
    "unknown vote": (["good", "fine"], {"kind": "votes"}, r"among bad, so_so, good, .* 3 \('fine'\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_rows_that_are_wrong_are_refused_by_number(tmp_path: Path, name: str) -> None:
    wrong, how, message = REFUSED[name]
    good: Any = {"good": 0} if how.get("kind") == "top-k" else GOOD
    table = [{"text": text, "soft": wrong if row in (2, 4) else good} for row, text in enumerate("abcdef")]
    with pytest.raises(LabelError, match=message) as error:
        read(write(tmp_path / "soft.jsonl", table), **how)
    assert "5" in str(error.value)


def test_many_rows_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    table = [{"text": str(row), "soft": {**GOOD, "good": 0.6 if row < 40 else -1}} for row in range(50)]
    with pytest.raises(LabelError) as error:
        read(write(tmp_path / "soft.jsonl", table))
    assert "40 rows: 1 (1.1), 2 (1.1), 3 (1.1), 4 (1.1), 5 (1.1) and 35 more (10 rows have other" in str(
        error.value
    )
    # Of a table on the Hub only the beginning is looked at before anything runs.
    table = [{"text": str(row), "soft": GOOD if row < 10 else {}} for row in range(20)]
    assert read(write(tmp_path / "soft.jsonl", table), most=10).rows == 10


def test_a_text_twice_is_taken_with_equal_values_alone(tmp_path: Path) -> None:
    twice = [{"text": text, "soft": GOOD} for text in ("one", "two", "one")]
    table = read(write(tmp_path / "soft.jsonl", twice))
    assert (len(table.hashes), table.rows) == (2, 3)
    other = [*twice, {"text": "two", "soft": {"bad": 0.3, "so_so": 0.2, "good": 0.5}}]
    with pytest.raises(LabelError, match=r"1 row: 4 \(other values than row 2\); keep one"):
        read(write(tmp_path / "soft.jsonl", other))
    # In the order of rows, not in that of texts' hashes.
    changed = {"bad": 1, "so_so": 0, "good": 0}
    many = [{"text": str(row % 9), "soft": changed if row > 8 else GOOD} for row in range(18)]
    with pytest.raises(LabelError, match=r"rows: 10 .*, 11 .*, 12 .*, 13 .*, 14 .* and 4 more"):
        read(write(tmp_path / "soft.jsonl", many))


def test_texts_that_a_table_lacks_are_refused_by_number(tmp_path: Path) -> None:
    table = read(write(tmp_path / "soft.jsonl", [{"text": text, "soft": GOOD} for text in TEXTS]))
    found = rows_of(table, [("four",), ("one",), ("four",)], "x")
    assert (table.hashes[found] == text_hashes([("four",), ("one",), ("four",)])).all()
    with pytest.raises(
        LabelError, match=r"every text in soft.jsonl, .* 2 rows: 1 \(none\), 3 .*`transfer.sources`"
    ):
        rows_of(table, [("five",), ("one",), ("",)], "soft.jsonl")


@pytest.mark.parametrize(
    ("row", "how", "kind", "message"),
    [
        ({"p_bad": 1, "p_good": 0}, {}, LabelError, "a column for each of bad, so_so, good .* p_bad, p_good"),
        (dict.fromkeys(f"{a}_{name}" for a in "pq" for name in CLASSES), {}, LabelError, "p_bad, .*q_bad"),
        ({"soft": [1, 0, 0]}, {"stated": False}, LabelError, "order of classes is not known.*teacher_labels"),
        ({"soft": GOOD}, {"columns": ("sfot",)}, DataError, "'sfot'.*the nearest is soft"),
        ({"soft": GOOD}, {"facts": SEVERAL, "kind": "votes"}, LabelError, "several classes"),
        ({"a": 1, "b": 2}, {"facts": VALUE}, LabelError, "one column of numbers"),
        ({"soft": GOOD}, {"named": ("a", "b", "c")}, LabelError, "cannot be matched by name"),
        (
            {"p_bad": 1, "p_so_so": 0, "p_good": 0},
            {"columns": ("p_bad", "p_so_so", "p_good"), "named": ("good", "so_so", "bad")},
            LabelError,
            "named after other classes",
        ),
    ],
)  # fmt: skip
def test_columns_that_do_not_fit_the_classes_are_refused(
    tmp_path: Path, row: Any, how: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        read(write(tmp_path / "soft.jsonl", [{"text": "one", **row}]), **how)


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "soft.csv").write_text("text,p_bad,p_so_so,p_good\n")
    with pytest.raises(DataError, match="expected rows, found none"):
        read(tmp_path / "soft.csv")
