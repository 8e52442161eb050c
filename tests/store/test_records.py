"""Digests, atomic files and stage records."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellread_hf.errors import StoreError
from wellread_hf.settings import Tuning
from wellread_hf.store.records import (
    RECORD,
    StageRecord,
    canonical_json,
    digest,
    file_digest,
    write_atomically,
)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def turned_round(value):
    """The same value with every dict's insertion order reversed."""
    if isinstance(value, dict):
        return {key: turned_round(value[key]) for key in reversed(value)}
    return [turned_round(item) for item in value] if isinstance(value, list) else value


@settings(derandomize=True, deadline=None)
@given(PLAIN)
def test_digest_does_not_depend_on_the_order_of_dicts(value):
    assert digest(turned_round(value)) == digest(value)


@settings(derandomize=True, deadline=None)
@given(PLAIN)
def test_canonical_json_says_the_value_itself(value):
    assert json.loads(canonical_json(value)) == value


@settings(derandomize=True, deadline=None)
@given(PLAIN, PLAIN)
def test_different_values_have_different_digests(one, other):
    # Compared as JSON text, where 1, 1.0 and true are three things.
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest(one) == digest(other)) == same


def test_digest_takes_settings_paths_and_tuples():
    assert digest(Tuning(seed=1)) == digest(Tuning(seed=1)) != digest(Tuning(seed=2))
    assert digest({"at": Path("a/b"), "is": (1, 2)}) == digest({"is": [1, 2], "at": "a/b"})


def test_digest_is_the_same_in_another_process_and_pinned():
    code = "from wellread_hf.store.records import digest; print(digest({'b': [1, 2.5], 'a': {'x': None}}))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    reference = hashlib.sha256(b'{"a":{"x":null},"b":[1,2.5]}').hexdigest()
    assert done.stdout.strip() == reference == digest({"a": {"x": None}, "b": [1, 2.5]})


def test_digest_refuses_what_has_no_canonical_form():
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"loss": float("nan")})
    with pytest.raises(TypeError, match="cannot write a set as JSON"):
        digest({1, 2})


def test_write_replaces_a_file_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "file.json"
    write_atomically(path, "old")
    write_atomically(path, "né".encode())
    assert path.read_text(encoding="utf-8") == "né"
    write_atomically(path, "ü")
    assert path.read_bytes() == "ü".encode()
    assert [found.name for found in tmp_path.iterdir()] == ["file.json"]


def test_a_write_killed_at_any_time_leaves_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "file"
    code = (
        "import sys; from pathlib import Path; from wellread_hf.store.records import write_atomically\n"
        "path = Path(sys.argv[1])\n"
        "for turn in range(10**9):\n"
        "    write_atomically(path, bytes([turn % 256]) * 3_000_000)\n"
        "    if turn < 6: print(turn, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    for _ in range(5):
        assert process.stdout.readline()
        content = path.read_bytes()
        assert len(content) == 3_000_000
        assert len(set(content)) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    content = path.read_bytes()
    assert len(content) == 3_000_000
    assert len(set(content)) == 1


def test_file_digest_is_sha256_of_the_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    assert file_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_file_digest_remembers_an_unchanged_file(tmp_path):
    path, memory = tmp_path / "file", tmp_path / "runs" / ".digests.json"
    path.write_text("text")
    first = file_digest(path, memory)
    # What the memory says is believed, so a file of gigabytes is not read again.
    memory.write_text(memory.read_text().replace(first, "remembered"))
    assert file_digest(path, memory) == "remembered"
    assert file_digest(path) == first


def test_file_digest_notices_a_change_of_size_or_time(tmp_path):
    path, memory = tmp_path / "file", tmp_path / "memory.json"
    path.write_text("one")
    file_digest(path, memory)
    path.write_text("three")
    assert file_digest(path, memory) == hashlib.sha256(b"three").hexdigest()
    path.write_text("seven")
    os.utime(path, ns=(1, 1))
    assert file_digest(path, memory) == hashlib.sha256(b"seven").hexdigest()


def test_file_digest_keeps_what_it_knows_of_other_files(tmp_path):
    memory = tmp_path / "memory.json"
    for name in "ab":
        (tmp_path / name).write_text(name)
        file_digest(tmp_path / name, memory)
    assert set(json.loads(memory.read_text()).values()) == {
        hashlib.sha256(n).hexdigest() for n in (b"a", b"b")
    }


@pytest.mark.parametrize(
    "damage", [b"", b"\xff\x00", b"[]", b'{"a": 1}', b"[" * 100_000, b'{"a": "b"', b"7" * 5_000, None]
)
def test_a_damaged_memory_is_thrown_away(tmp_path, damage):
    path, memory = tmp_path / "file", tmp_path / "memory.json"
    path.write_text("text")
    right = file_digest(path)
    if damage is None:
        memory.mkdir()
    else:
        memory.write_bytes(damage)
    assert file_digest(path, memory) == right
    if damage is not None:
        assert list(json.loads(memory.read_text()).values()) == [right]


def test_a_memory_that_cannot_be_written_costs_time_alone(tmp_path):
    path = tmp_path / "file"
    path.write_text("text")
    assert file_digest(path, path / "memory.json") == file_digest(path)


RECORDED = StageRecord(
    kind="pretrain",
    name="bert-2-128",
    digest="d" * 64,
    settings={"seed": 0, "lengths": [128]},
    inputs={"pack": "p" * 64},
    outcome={"loss": 2.5},
    seconds=1.5,
    versions={"torch": "2.13.0"},
    command="pretrain.py --seed 0",
)


def test_a_record_is_read_as_it_was_written(tmp_path):
    RECORDED.write(tmp_path)
    assert StageRecord.read(tmp_path) == RECORDED
    assert [found.name for found in tmp_path.iterdir()] == [RECORD]


def test_settings_are_recorded_as_plain_json(tmp_path):
    @dataclass
    class Nested:
        path: Path

    StageRecord(
        **{name: getattr(RECORDED, name) for name in RECORDED.__slots__ if name != "settings"},
        settings={"nested": Nested(Path("a/b")), "pair": (1, 2)},
    ).write(tmp_path)
    assert StageRecord.read(tmp_path).settings == {"nested": {"path": "a/b"}, "pair": [1, 2]}


def test_a_folder_without_a_record_is_unfinished(tmp_path):
    with pytest.raises(StoreError) as refusal:
        StageRecord.read(tmp_path)
    message = str(refusal.value)
    assert f"expected a finished stage in {tmp_path}" in message
    assert f"found no {RECORD}" in message
    assert "run the stage again" in message


@pytest.mark.parametrize("content", ['{"kind": "pre', "[]", '{"kind": "pretrain"}', '{"other": 1}', "\x80"])
def test_a_damaged_record_is_refused_by_name(tmp_path, content):
    (tmp_path / RECORD).write_bytes(content.encode("latin-1"))
    with pytest.raises(StoreError, match=r"cannot be read .*; delete it and run the stage again") as refusal:
        StageRecord.read(tmp_path)
    assert str(tmp_path / RECORD) in str(refusal.value)
