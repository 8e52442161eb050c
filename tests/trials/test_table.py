"""The table of trials: rows come back as they went in, and whole, whatever happens to writer and file."""

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rows import trial

from wellread_hf.errors import DiskFullError, NotFiniteError, StoreError
from wellread_hf.results.trials import TABLE, Trial, TrialTable

HERE = Path(__file__).parent

texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.floats(allow_nan=False, allow_infinity=False)
trials = st.builds(
    Trial,
    digest=texts,
    folder=texts,
    student=texts,
    task=texts,
    method=st.sampled_from(["pf", "pd"]),
    learning_rate=numbers,
    batch_size=st.integers(0, 2**62),
    seed=st.integers(-(2**63), 2**63 - 1),
    state=st.sampled_from(["done", "failed", "stopped"]),
    metric=texts,
    score=numbers,
    scores=st.dictionaries(texts, numbers, max_size=3),
    steps=st.none() | st.integers(0, 2**62),
    seconds=numbers,
    finished=texts,
    host=texts,
    device=st.none() | texts,
    error=st.none() | texts,
    settings=st.dictionaries(texts, st.none() | texts | numbers | st.lists(st.integers()), max_size=3),
    versions=st.dictionaries(texts, texts, max_size=3),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    # Characters that mean something in the URI by which SQLite opens a file.
    folder = tmp_path / "sweep 1?#%41"
    folder.mkdir()
    return folder / TABLE


def write(path: Path, *rows: Trial) -> None:
    with TrialTable(path) as table:
        for row in rows:
            table.append(row)


@settings(derandomize=True, deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(trials, max_size=4, unique_by=lambda row: row.digest))
def test_rows_come_back_as_they_went_in(tmp_path_factory: pytest.TempPathFactory, rows: list[Trial]) -> None:
    path = tmp_path_factory.mktemp("table") / TABLE
    write(path, *rows)
    assert TrialTable.read(path) == rows


def test_of_a_digest_the_latest_row_counts_at_its_first_place(path: Path) -> None:
    write(path, trial(1, state="failed", score=None), trial(2))
    write(path, trial(1, score=0.9), trial(3))
    assert TrialTable.read(path) == [trial(1, score=0.9), trial(2), trial(3)]


def test_nothing_but_the_table_is_left_beside(path: Path) -> None:
    write(path, trial())
    assert [found.name for found in path.parent.iterdir()] == [TABLE]


@pytest.mark.parametrize("statement", ["UPDATE trials SET score = 1", "DELETE FROM trials"])
def test_rows_are_neither_changed_nor_deleted(path: Path, statement: str) -> None:
    write(path, trial())
    with closing(sqlite3.connect(path)) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
        connection.rollback()
    assert TrialTable.read(path) == [trial()]


@pytest.mark.parametrize("score", [None, float("nan"), float("inf")])
def test_a_finished_trial_has_a_finite_score(score: float | None) -> None:
    with pytest.raises(NotFiniteError, match=f"expected a done trial's .* got {score} of accuracy"):
        trial(score=score)
    with pytest.raises(NotFiniteError, match="expected a stopped trial's dev score to be a finite number"):
        trial(state="stopped", scores={"accuracy": float("nan")})
    assert trial(score=None, metric=None, state="failed", scores={}).score is None


def start(path: Path, first: int = 0, pause: float = 0) -> "subprocess.Popen[str]":
    command = [sys.executable, HERE / "writer.py", path, str(first), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill(writer: "subprocess.Popen[str]") -> list[int]:
    """Kills a writer; returns the numbers that it said and nobody has read yet."""
    assert writer.stdout is not None
    writer.kill()
    return [int(line) for line in writer.stdout.read().split()]


def test_a_writer_killed_at_any_moment_leaves_every_committed_row_and_no_half_one(path: Path) -> None:
    moments = random.Random(0)
    rows = 0
    for _ in range(6):
        with start(path, rows) as writer:
            assert writer.stdout is not None
            assert int(writer.stdout.readline()) == rows
            time.sleep(moments.uniform(0, 0.1))
            last = [rows, *kill(writer)][-1]
        found = TrialTable.read(path)
        # The row that was under way may be there; what was said to be there must.
        assert last + 1 <= len(found) <= last + 2
        assert found == [
            trial(number, seed=number, error=f"{number} " * 2_000) for number in range(len(found))
        ]
        rows = len(found)


KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
# With room for no page, SQLite writes into the file before the transaction ends.
connection.execute("PRAGMA cache_size = 1")
columns = [row[1] for row in connection.execute("PRAGMA table_info(trials)")][2:]
names = ", ".join(columns)
for turn in range(900):
    rows = f"SELECT 'half' || {turn}, {names} FROM trials LIMIT 9"
    connection.execute(f"INSERT INTO trials (digest, {names}) {rows}")
os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_in_a_transaction(path: Path) -> None:
    """Leaves a file in which a transaction stands half, and the journal that takes it back."""
    before = path.read_bytes()
    subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert path.with_name(f"{TABLE}-journal").is_file()
    assert path.read_bytes() != before


def test_a_transaction_cut_off_in_the_file_itself_is_taken_back_by_the_next_reader(path: Path) -> None:
    rows = [trial(number) for number in range(9)]
    write(path, *rows)
    kill_in_a_transaction(path)
    assert TrialTable.read(path) == rows
    assert not path.with_name(f"{TABLE}-journal").exists()


def test_the_journal_of_a_table_that_was_moved_away_does_not_spoil_the_next(path: Path) -> None:
    write(path, *(trial(number) for number in range(9)))
    kill_in_a_transaction(path)
    path.rename(path.with_name("away"))
    write(path, trial(7))
    assert TrialTable.read(path) == [trial(7)]


def test_a_reader_sees_whole_rows_while_a_process_writes(path: Path) -> None:
    counts: list[int] = []
    # Without a pause the file is locked nearly always; real rows come minutes apart.
    with start(path, pause=0.02) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        until = time.monotonic() + 30
        while len(set(counts)) < 4 and time.monotonic() < until:
            found = TrialTable.read(path)
            assert [row.digest for row in found] == [f"d{number}" for number in range(len(found))]
            counts.append(len(found))
        assert writer.poll() is None, "the writer was disturbed"
        last = [0, *kill(writer)][-1]
    assert counts == sorted(counts)
    assert len(set(counts)) == 4, "nothing was written meanwhile"
    assert counts[-1] <= last + 2


def spoilt(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: (path.write_bytes(change(path.read_bytes())), None)[1]


def other_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE trials (digest TEXT)")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (spoilt(lambda old: b""), "got a file of 0 bytes"),
    "cut off in the header": (spoilt(lambda old: old[:50]), "got a file of 50 bytes"),
    "cut off in a page": (spoilt(lambda old: old[:5_000]), "got a damaged one"),
    "cut off at a page": (spoilt(lambda old: old[:-4096]), "got a damaged one"),
    "last byte gone": (spoilt(lambda old: old[:-1]), "got a damaged one ("),
    "overwritten": (spoilt(lambda old: b"digest,score\n" * 1_000), "got a file that is none"),
    "overwritten within": (spoilt(lambda old: old[:8192] + bytes(4096) + old[12288:]), "got a damaged one"),
    "of another program": (other_program, "got another program's SQLite file"),
    "of a newer format": (newer, "of format 1, got format 2; use the version of wellread_hf that wrote it"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A good table of several pages."""
    path = tmp_path_factory.mktemp("whole") / TABLE
    write(path, *(trial(number, error="long " * 50) for number in range(40)))
    return path.read_bytes()


@pytest.mark.parametrize(("spoil", "words"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("use", [TrialTable, TrialTable.read], ids=["write", "read"])
def test_a_file_that_is_no_whole_table_is_refused_and_left_as_it_is(
    path: Path, whole: bytes, spoil: Callable[[Path], None], words: str, use: Callable[[Path], object]
) -> None:
    path.write_bytes(whole)
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(StoreError) as refusal:
        use(path)
    assert f"{path}: expected a table of trials" in str(refusal.value)
    assert words in str(refusal.value)
    assert "away and run the sweep again: finished trials are found in their folders" in str(refusal.value)
    assert path.read_bytes() == before


def test_a_row_whose_json_is_spoilt_is_refused(path: Path) -> None:
    write(path, trial())
    path.write_bytes(path.read_bytes().replace(b'{"torch":', b'["torch":'))
    with pytest.raises(StoreError, match="got a row that cannot be read"):
        TrialTable.read(path)


def test_a_table_that_is_not_there_or_has_no_place_is_told(path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"expected a table of trials, found no .*`wellread sweep` writes one"
    ):
        TrialTable.read(path)
    with pytest.raises(StoreError, match="expected a table of trials that can be opened here, got: unable"):
        TrialTable(path.parent / "missing" / TABLE)


def test_a_full_disk_is_told_and_what_was_written_stays(path: Path) -> None:
    with TrialTable(path) as table:
        table.append(trial(0))
        table._connection.execute("PRAGMA max_page_count = 1")  # no larger than it is
        with pytest.raises(DiskFullError, match="the disk is full; make room and run the sweep again"):
            table.append(trial(1, error="long " * 5_000))
        table.append(trial(2))
    assert TrialTable.read(path) == [trial(0), trial(2)]
