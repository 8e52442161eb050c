"""Reading corpora: every kind of source gives the same rows, and bad input gets one clear sentence."""

import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wellread_hf.data.corpus import Source
from wellread_hf.errors import DataError, SettingsError
from wellread_hf.settings import Running
from wellread_hf.stages.inputs import Sources
from wellread_hf.store.places import locate

TEXTS = ["A first text.", "Ein zweiter, mit Umlaut: ü.", "三番目", "emoji 🎬 and a  double space"]


def read(spec):
    source = Source.parse(str(spec))
    return list(source.texts(locate(source.name, "dataset", "corpus.sources")))


def refusal_of(spec):
    with pytest.raises(DataError) as refusal:
        read(spec)
    return str(refusal.value)


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def parquet(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_every_kind_of_source_gives_the_same_rows(tmp_path):
    plain = tmp_path / "a.txt"
    plain.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    folder = tmp_path / "hub"
    parquet(folder / "default" / "train-00000-of-00001.parquet", text=TEXTS)
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - split: train\n    path: default/train-*\n---\n"
    )
    expected = [(text,) for text in TEXTS]
    assert read(plain) == expected
    assert read(jsonl(tmp_path / "a.jsonl", [{"text": text, "other": 1} for text in TEXTS])) == expected
    assert read(parquet(tmp_path / "a.parquet", other=[1, 2, 3, 4], text=TEXTS)) == expected
    assert read(folder) == expected


def test_several_sources_follow_each_other_in_the_order_given(tmp_path):
    one = tmp_path / "one.txt"
    one.write_text("a\nb\n")
    two = jsonl(tmp_path / "two.jsonl", [{"body": "c"}])
    three = parquet(tmp_path / "three.parquet", text=["d"])
    running = Running(runs=tmp_path / "runs")
    specs = [f"{two},column=body", str(one), str(three), str(one)]
    sources = Sources(specs, "corpus.sources", running)
    assert [text for (text,) in sources.texts()] == ["c", "a", "b", "d", "a", "b"]


def test_splits_configurations_and_columns_are_chosen_by_name(tmp_path):
    for config in ("red", "blue"):
        for split in ("train", "validation"):
            parquet(tmp_path / "data" / config / f"{split}.parquet", body=[f"{config} {split}"], title=["t"])
    (tmp_path / "data" / "README.md").write_text(
        "---\nconfigs:\n"
        + "".join(
            f"- config_name: {config}\n  data_files:\n"
            + "".join(
                f"  - split: {split}\n    path: {config}/{split}.parquet\n"
                for split in ("train", "validation")
            )
            for config in ("red", "blue")
        )
        + "---\n"
    )
    data = tmp_path / "data"
    assert read(f"{data},config=blue,split=validation,column=body") == [("blue validation",)]
    assert read(f"{data},config=red,column=title+body") == [("t", "red train")]
    assert "red" in refusal_of(f"{data},column=body")


def test_empty_lines_and_windows_line_ends_make_no_texts(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\r\n\r\n   \ntwo")
    assert read(path) == [("one",), ("two",)]


def test_a_file_is_read_as_a_stream(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"good\n" * 3 + b"bad \xff\n")
    source = Source.parse(str(path))
    texts = source.texts(locate(source.name, "dataset", "corpus.sources"))
    assert [next(texts) for _ in range(3)] == [("good",)] * 3


def test_the_real_slices_are_read_whole(shared):
    found = read(f"{shared / 'data' / 'wikipedia_slice'},split=validation")
    files = sorted((shared / "data" / "wikipedia_slice" / "default").glob("validation-*.parquet"))
    assert found == [(text,) for file in files for text in pq.read_table(file)["text"].to_pylist()]
    assert len(found) == 468


def test_an_option_is_read_as_written():
    assert Source.parse("a/b, config=c, split=s, revision=r, column=x+y") == Source(
        name="a/b", config="c", split="s", revision="r", columns=("x", "y")
    )
    assert Source.parse("a.txt") == Source(name="a.txt", split="train", columns=("text",))


@pytest.mark.parametrize("option", ["colum=text", "column", "column=", "splt=train", ""])
def test_an_unknown_option_is_refused_with_the_nearest(option):
    with pytest.raises(SettingsError) as refusal:
        Source.parse(f"corpus.jsonl,{option}")
    message = str(refusal.value)
    assert repr(option) in message
    assert "expected options like column=text" in message
    nearest = "split" if option.startswith("spl") else "column" if option else ""
    assert f"the nearest option is {nearest}" in message


@pytest.mark.parametrize("value", [None, 3, 1.5, ["a"], {"a": 1}, True])
def test_a_row_that_is_no_text_is_refused_by_number(tmp_path, value):
    message = refusal_of(jsonl(tmp_path / "a.jsonl", [{"text": "good"}, {"text": value}]))
    assert "row 2" in message
    assert f"got {type(value).__name__} {value!r}" in message
    assert "correct or leave out the row" in message


def test_a_missing_value_in_parquet_is_refused_by_number(tmp_path):
    assert "row 2: expected text in column 'text', got NoneType" in refusal_of(
        parquet(tmp_path / "a.parquet", text=["a", None])
    )


def test_a_nul_is_refused_by_row_and_place(tmp_path):
    plain = tmp_path / "a.txt"
    plain.write_bytes(b"good\nwo\0rd\n")
    for path in (plain, jsonl(tmp_path / "a.jsonl", [{"text": "good"}, {"text": "wo\0rd"}])):
        message = refusal_of(path)
        assert str(path) in message
        assert "row 2: the text has a NUL character at 2" in message
        assert "correct or leave out the row" in message


def test_half_a_surrogate_pair_is_refused_by_row_and_place(tmp_path):
    # JSON may say it; UTF-8 cannot, and neither can a tokenizer.
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "good \\ud83c\\udfac"}\n{"text": "wo\\ud83crd"}\n')
    message = refusal_of(path)
    assert "row 2: expected Unicode text, got half a surrogate pair ('\\ud83c') at 2" in message


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_broken_utf8_is_refused_by_line_and_place(tmp_path, name):
    path = tmp_path / name
    good = b'{"text": "a"}\n' if name.endswith("jsonl") else b"good\n"
    path.write_bytes(good + b"\n" + b"caf\xe9\n")
    message = refusal_of(path)
    assert f"{path}, line 3: expected UTF-8, got byte 0xe9 at position 3" in message
    assert "convert the file to UTF-8" in message


def broken_utf8_parquet(path):
    raw = pa.array([b"good", b"caf\xe9"], pa.binary())
    return parquet(path, text=pa.Array.from_buffers(pa.string(), 2, raw.buffers()))


def test_broken_utf8_in_parquet_is_refused(tmp_path):
    message = refusal_of(broken_utf8_parquet(tmp_path / "a.parquet"))
    assert "not a readable Parquet file" in message
    assert "0xe9" in message


@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_what_is_no_parquet_is_refused(tmp_path, damage):
    path = parquet(tmp_path / "a.parquet", text=["a"] * 1_000)
    raw = path.read_bytes()
    path.write_bytes({"cut": raw[: len(raw) // 2], "other": b"text\n" * 100, "empty": b""}[damage])
    message = refusal_of(path)
    assert f"{path}: not a readable Parquet file" in message
    assert "write it again" in message


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": ', "one JSON object a line, or in .json one array of them"),
        ("[1]", "a JSON object"),
        ("NaN", "a JSON object"),
    ],
)
def test_bad_json_is_refused_by_line(tmp_path, line, said):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n' + line + "\n")
    message = refusal_of(path)
    assert f"{path}, line 2: expected {said}, got {line.strip()!r:.60}" in message


@pytest.mark.parametrize("name", ["a.xlsx", "a.parquet.gz", "a.csv.zip", "corpus"])
def test_an_unknown_ending_is_refused_with_the_known_ones(tmp_path, name):
    path = tmp_path / name
    path.write_text("a\n")
    message = refusal_of(path)
    assert "expected a file of .csv, .tsv, .json, .ndjson, .txt, .conll, .jsonl, .parquet" in message
    assert (path.suffix or "no ending") in message
    assert "convert the file" in message


def test_an_unknown_split_is_refused_with_the_nearest(tmp_path):
    parquet(tmp_path / "data" / "train.parquet", text=["a"])
    parquet(tmp_path / "data" / "validation.parquet", text=["a"])
    message = refusal_of(f"{tmp_path / 'data'},split=valid")
    assert "expected a split 'valid', found train, validation" in message
    assert message.endswith(",split=validation")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("no files", ": expected a data set on the Hub or a folder in its layout"),
        ("cut parquet", "/train.parquet: not a readable Parquet file"),
        ("broken utf-8", "/train.parquet: not a readable Parquet file"),
        ("bad json", "/train.jsonl, line 2: expected one JSON object a line"),
        ("bad text", "/train.txt, line 2: expected UTF-8"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_by_name(tmp_path, damage, said):
    folder = tmp_path / "data"
    folder.mkdir()
    match damage:
        case "cut parquet":
            path = parquet(folder / "train.parquet", text=["a"] * 5_000)
            path.write_bytes(path.read_bytes()[:200])
        case "broken utf-8":
            broken_utf8_parquet(folder / "train.parquet")
        case "bad json":
            (folder / "train.jsonl").write_text('{"text": "a"}\n{"text":\n')
        case "bad text":
            (folder / "train.txt").write_bytes(b"abc\ncaf\xe9\n")
    assert refusal_of(folder).startswith(f"{folder}{said}")


def test_a_data_set_that_is_not_in_the_cache_is_refused_offline_in_one_sentence():
    code = (
        "from wellread_hf.data.corpus import Source\n"
        "from wellread_hf.errors import DataError\n"
        "from wellread_hf.store.places import locate\n"
        "source = Source.parse('wikimedia/wikipedia,config=20231101.en')\n"
        "try: next(source.texts(locate(source.name, 'dataset', 'corpus.sources')))\n"
        "except DataError as error: print(error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    message = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert message.stdout.startswith("wikimedia/wikipedia: expected a data set on the Hub"), message.stderr
    assert "give a local file or folder in its place" in message.stdout


def test_a_hub_data_set_without_a_network_names_the_option_that_takes_a_folder():
    code = (
        "from wellread_hf.errors import SourceError\n"
        "from wellread_hf.store.places import locate\n"
        "try: locate('wikimedia/wikipedia', 'dataset', 'corpus.sources')\n"
        "except SourceError as error: print(error)"
    )
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"} | nowhere
    message = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "give `corpus.sources` a local file or folder" in message.stdout, message.stderr
