"""One reader for every format: the same table gives the same rows and classes, however it is written."""

import bz2
import csv
import gzip
import json
import lzma
import os
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wellread_hf.data import files
from wellread_hf.data.corpus import Source
from wellread_hf.errors import DataError, LabelError
from wellread_hf.settings import Running, Task
from wellread_hf.stages.inputs import FoundTask
from wellread_hf.store.places import locate

# What formats treat as something else than text: missing, numbers, dates, quotes, separators, ends of lines.
TEXTS = [
    "NA",
    "null",
    "01",
    "2020-01-01",
    'he said "no", and\tleft',
    "two\nlines",
    "ü 🎬 word",
    "nan",
    "true",
]
OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
FORMATS = [
    ".csv",
    ".tsv",
    ".jsonl",
    ".ndjson",
    ".json",
    ".parquet",
    ".CSV",
    ".Parquet",
    ".csv.gz",
    ".tsv.bz2",
    ".JSONL.GZ",
    ".json.xz",
]
TYPED = [".jsonl", ".json", ".parquet"]


def write(path, rows):
    """Writes rows (dicts) as the endings of the file's name say."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, ending, *compression = path.name.lower().split(".")
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return str(path)
    opener = OPENERS["." + compression[0]] if compression else open
    with opener(path, "wt", newline="", encoding="utf-8") as file:
        if ending in ("csv", "tsv"):
            writer = csv.DictWriter(file, list(rows[0]), delimiter="," if ending == "csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
        elif ending == "json":
            json.dump(rows, file, indent=1)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return str(path)


def texts_of(spec):
    source = Source.parse(str(spec))
    return [text for (text,) in source.texts(locate(source.name, "dataset", "corpus.sources"))]


def task_of(tmp_path, written, ending, place="files", **changes):
    """Loads a task whose rows have these labels, from two files or from a folder in Hub layout."""
    rows = [{"text": f"text {number}", "label": label} for number, label in enumerate(written)]
    names = ("train", "validation")
    data, validation = (write(tmp_path / "set" / f"{name}{ending}", rows) for name in names)
    if place == "folder":
        data, validation = str(tmp_path / "set"), None
    task = Task(name="mine", data=data, validation=validation, columns=("text",), **changes)
    return FoundTask(task, Running(runs=tmp_path / "runs")).load()


@pytest.mark.parametrize("place", ["files", "folder"])
@pytest.mark.parametrize("ending", FORMATS)
def test_a_text_is_the_same_in_every_format(tmp_path, ending, place):
    path = write(tmp_path / "set" / f"train{ending}", [{"text": text, "other": 1} for text in TEXTS])
    assert texts_of(path if place == "files" else tmp_path / "set") == TEXTS


@pytest.mark.parametrize("ending", [".txt", ".TXT", ".txt.gz"])
def test_a_line_of_plain_text_is_a_row(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    with (gzip.open if ending.endswith("gz") else open)(path, "wt", encoding="utf-8-sig") as file:
        file.write("good film\n\n NA \n01")
    assert texts_of(path) == ["good film", "NA", "01"]


@pytest.mark.parametrize("ending", [".txt", ".csv", ".tsv", ".jsonl", ".json"])
def test_a_byte_order_mark_is_no_text(tmp_path, ending):
    content = {
        ".txt": "good\n",
        ".csv": "text\ngood\n",
        ".tsv": "text\ngood\n",
        ".json": '[{"text": "good"}]',
    }
    path = tmp_path / f"a{ending}"
    path.write_text(content.get(ending, '{"text": "good"}\n'), encoding="utf-8-sig")
    assert texts_of(path) == ["good"]
    if ending in (".txt", ".jsonl"):
        path.write_bytes(path.read_bytes() * 2)
        assert texts_of(path) == ["good", "good"]


@pytest.mark.parametrize("place", ["files", "folder"])
@pytest.mark.parametrize(
    ("written", "classes", "numbers", "endings"),
    [
        (["pos", "neg", "pos"], ("neg", "pos"), [1, 0, 1], FORMATS),
        (["NA", "null", "01", "nan"], ("01", "NA", "nan", "null"), [1, 3, 0, 2], FORMATS),
        (["1", "0", "1"], ("0", "1"), [1, 0, 1], FORMATS),
        (["1.0", "0.0", "1"], ("0", "1"), [1, 0, 1], FORMATS),
        ([1, 0, 1], ("0", "1"), [1, 0, 1], FORMATS),
        ([1.0, 0.0, 1.0], ("0", "1"), [1, 0, 1], FORMATS),
        ([10, 9, 2], ("2", "9", "10"), [2, 1, 0], FORMATS),
        ([2020, 2019], ("2019", "2020"), [1, 0], FORMATS),
        ([90017, 90001, 90001], ("90001", "90017"), [1, 0, 0], FORMATS),
        ([-2, 2], ("-2", "2"), [0, 1], FORMATS),
        ([5, 4, 3, 2, 1], ("1", "2", "3", "4", "5"), [4, 3, 2, 1, 0], FORMATS),
        ([True, False], ("False", "True"), [1, 0], FORMATS),
        (["true", "FALSE", "True"], ("False", "True"), [1, 0, 1], FORMATS),
        ([Decimal("1.0"), Decimal("0.0")], ("0", "1"), [1, 0], [".csv", ".parquet"]),
        (["1", 0, 1.0, "0.0"], ("0", "1"), [1, 0, 1, 0], [".jsonl", ".json"]),
        ([" 1", "0 ", "1"], ("0", "1"), [1, 0, 1], FORMATS),
        (["1e3", "2E2"], ("1e3", "2E2"), [0, 1], FORMATS),
        (["2020-01-01", "2020-01-02"], ("2020-01-01", "2020-01-02"), [0, 1], FORMATS),
    ],
)
def test_labels_that_mean_the_same_are_the_same_classes(tmp_path, written, classes, numbers, endings, place):
    for number, ending in enumerate(endings):
        loaded = task_of(tmp_path / str(number), written, ending, place)
        assert (ending, loaded.facts.labels) == (ending, classes)
        assert (ending, loaded.train.labels.tolist()) == (ending, numbers)


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["neg", "pos", "neg "], "'neg' and 'neg '"),
        (["neg", "Neg", "pos"], "'Neg' and 'neg'"),
        (["a b", "a\u00a0b", "c"], "'a b' and 'a\\xa0b'"),
        (["e\u0301", "\u00e9", "c"], "'e\\u0301' and '\\xe9'"),
        (["01", "1", "a"], "'01' and '1'"),
    ],
)
def test_classes_that_differ_in_case_or_blanks_alone_are_refused(tmp_path, ending, labels, said):
    with pytest.raises(LabelError) as refusal:
        task_of(tmp_path, labels, ending)
    assert said in str(refusal.value)
    assert "`task.labels`" in str(refusal.value)
    assert task_of(tmp_path, labels, ending, labels=tuple(labels)).train.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("first", [0, 1_700_000_000, 90_001])
def test_an_id_is_no_class(tmp_path, ending, first):
    with pytest.raises(LabelError, match=r"expected at most 10 classes of 20 labels.*got 20.*`task\.label`,"):
        task_of(tmp_path, range(first, first + 20), ending)


def test_free_text_is_no_class(tmp_path):
    with pytest.raises(LabelError, match="expected at most 10 classes of 12 labels"):
        task_of(tmp_path, [f"a remark of its own {number}" for number in range(12)], ".csv")


def test_a_long_text_is_no_name_of_a_class(tmp_path):
    with pytest.raises(LabelError, match="expected names of classes as labels, got one of 5,000 characters"):
        task_of(tmp_path, ["9" * 5_000, "1" * 400], ".csv")


@pytest.mark.parametrize("shots", [2, 8])
def test_many_classes_of_a_few_rows_each_are_classes(tmp_path, shots):
    loaded = task_of(tmp_path, [f"intent {number:02}" for number in range(77)] * shots, ".jsonl")
    assert len(loaded.facts.labels) == 77


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("label", ["", None, -1, -100, "-1", "nan", "NA", "null", "1.5"])
def test_a_missing_label_among_numbers_is_refused_by_row(tmp_path, ending, label):
    labels = ["1", "0", "1", label] if ending == ".parquet" and isinstance(label, str) else [1, 0, 1, label]
    with pytest.raises(LabelError, match="training row 4: expected a label among 0, 1, got"):
        task_of(tmp_path, labels, ending)


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("label", ["", "  ", None])
def test_a_missing_label_among_words_is_refused_by_row(tmp_path, ending, label):
    with pytest.raises(LabelError, match="training row 3: expected a label among neg, pos, got"):
        task_of(tmp_path, ["pos", "neg", label], ending)


@pytest.mark.parametrize("label", ["9" * 5_000, "1e999", "1e400000000"])
def test_a_number_without_measure_is_no_class(tmp_path, label):
    with pytest.raises(LabelError, match=r"training row 3: expected a (label|number)"):
        task_of(tmp_path, ["0", "1", label], ".csv", labels=("0", "1"))
    with pytest.raises(LabelError, match="training row 3: expected a number as label"):
        task_of(tmp_path, ["0", "1", label], ".jsonl", regression=True)


def test_a_negative_label_that_is_named_is_a_class(tmp_path):
    loaded = task_of(tmp_path, [-1, 1, -1], ".csv", labels=("-1", "1"))
    assert loaded.train.labels.tolist() == [0, 1, 0]


def named(tmp_path, names, numbers, split, folder="set"):
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features(text=Value("string"), label=ClassLabel(names=names))
    path = tmp_path / folder / f"{split}.parquet"
    Dataset.from_dict(
        {"text": [f"text {number}" for number in range(len(numbers))], "label": numbers}, features=features
    ).to_parquet(path)
    return str(path)


def test_files_of_one_split_that_name_classes_otherwise_are_refused(tmp_path):
    for split, names in (("train-0", ["a", "b"]), ("train-1", ["b", "a"]), ("validation", ["a", "b"])):
        named(tmp_path, names, [1, 0, 1], split)
    task = Task(name="mine", data=str(tmp_path / "set"), columns=("text",))
    with pytest.raises(DataError, match=r"train-1\.parquet: expected the classes of .*train-0\.parquet"):
        FoundTask(task, Running(runs=tmp_path / "runs")).load()


@pytest.mark.parametrize("place", ["files", "folder"])
@pytest.mark.parametrize("names", [["neg", "pos", "mixed"], ["5", "4", "3"], ["b", "a", "B "]])
def test_names_of_class_labels_are_those_of_the_classes(tmp_path, place, names):
    train, dev = (named(tmp_path, names, [1, 0, 1], split) for split in ("train", "validation"))
    task = Task(name="mine", data=train, validation=dev, columns=("text",))
    if place == "folder":
        task = Task(name="mine", data=str(tmp_path / "set"), columns=("text",))
    loaded = FoundTask(task, Running(runs=tmp_path / "runs")).load()
    assert loaded.facts.labels == tuple(names)
    assert loaded.train.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("stated", "labels"),
    [
        (("pos", "neg"), [0, 1]),  # the same names: by name
        (("bad", "good"), [1, 0]),  # others: by place
        (("1", "2"), [1, 0]),
    ],
)
def test_given_classes_are_those_of_class_labels_by_name_or_by_place(tmp_path, stated, labels):
    train, dev = (named(tmp_path, ["neg", "pos"], [1, 0], split) for split in ("train", "validation"))
    task = Task(name="mine", data=train, validation=dev, columns=("text",), labels=stated)
    loaded = FoundTask(task, Running(runs=tmp_path / "runs")).load()
    assert loaded.train.labels.tolist() == labels


def test_each_file_has_names_of_its_own(tmp_path):
    train = named(tmp_path, ["neg", "pos"], [1, 0], "train")
    dev = named(tmp_path, ["pos", "neg"], [1, 0], "validation")
    task = Task(name="mine", data=train, validation=dev, columns=("text",))
    loaded = FoundTask(task, Running(runs=tmp_path / "runs")).load()
    assert loaded.validation.labels.tolist() == [0, 1]


def test_names_of_another_file_do_not_stand_for_those_of_the_training_rows(tmp_path):
    train = named(tmp_path, ["neg", "pos"], [1, 0], "train")
    dev = named(tmp_path, ["good", "bad"], [0, 1], "validation")
    task = Task(name="mine", data=train, validation=dev, columns=("text",))
    with pytest.raises(LabelError, match=r"validation row 1: expected a label among neg, pos .*, got 'good'"):
        FoundTask(task, Running(runs=tmp_path / "runs")).load()
    write(tmp_path / "train.csv", [{"text": "a", "label": 1}, {"text": "b", "label": 0}])
    task = Task(name="mine", data=str(tmp_path / "train.csv"), validation=dev, columns=("text",))
    loaded = FoundTask(task, Running(runs=tmp_path / "runs")).load()
    assert loaded.validation.labels.tolist() == [0, 1]


def test_a_withheld_class_label_is_refused_by_row(tmp_path):
    train = named(tmp_path, ["neg", "pos"], [1, 0, -1], "train")
    task = Task(name="mine", data=train, validation=train, columns=("text",))
    with pytest.raises(LabelError, match="training row 3: expected a label among neg, pos"):
        FoundTask(task, Running(runs=tmp_path / "runs")).load()


def test_names_in_a_readme_are_those_of_the_classes(tmp_path):
    for split in ("train", "validation"):
        write(tmp_path / "set" / f"{split}.csv", [{"text": "a", "label": 1}, {"text": "b", "label": 0}])
    (tmp_path / "set/README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n  - name: label\n    dtype:\n"
        "      class_label:\n        names:\n          '0': neg\n          '1': pos\n---\n"
    )
    task = Task(name="mine", data=str(tmp_path / "set"), columns=("text",))
    loaded = FoundTask(task, Running(runs=tmp_path / "runs")).load()
    assert loaded.facts.labels == ("neg", "pos")
    assert loaded.train.labels.tolist() == [1, 0]


@pytest.mark.parametrize("folder", ["my [v1] data", "a*b", "what?", "a,b", "x=y, z", "[", "a::b", "ä ö"])
def test_a_path_is_no_pattern(tmp_path, folder):
    path = write(tmp_path / folder / "train.csv", [{"text": "good"}])
    assert texts_of(path) == ["good"]
    assert texts_of(f"{path},column=text,rows=1") == ["good"]
    assert texts_of(tmp_path / folder) == ["good"]
    assert texts_of(f"{tmp_path / folder},split=train") == ["good"]


def test_what_datasets_alone_can_read_it_reads(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features(text=Value("string"), label=ClassLabel(names=["neg", "pos"]))
    table = Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features).data.table
    (tmp_path / "set").mkdir()
    for split in ("train", "validation"):
        with pa.ipc.new_stream(str(tmp_path / "set" / f"{split}.arrow"), table.schema) as stream:
            stream.write_table(table)
    task = Task(name="mine", data=str(tmp_path / "set"), columns=("text",))
    loaded = FoundTask(task, Running(runs=tmp_path / "runs")).load()
    assert (loaded.facts.labels, loaded.train.labels.tolist()) == (("neg", "pos"), [1, 0])


def test_columns_of_other_types_do_no_harm(tmp_path):
    table = {
        "text": pa.array(["a"]).dictionary_encode(),
        "other": pa.array([{"a": 1}]),
        "date": pa.array([0], pa.date32()),
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    assert texts_of(tmp_path / "a.parquet") == ["a"]


def test_a_folder_says_what_separates_its_fields(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train.csv").write_text("text;label\none, two;NA\n")
    (tmp_path / "set/README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files: train.csv\n  sep: ';'\n---\n"
    )
    assert texts_of(f"{tmp_path / 'set'},column=text") == ["one, two"]
    assert texts_of(f"{tmp_path / 'set'},column=label") == ["NA"]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet", ".txt"])
def test_a_long_text_is_a_text(tmp_path, ending):
    text = "word " * 300_000
    path = tmp_path / f"a{ending}"
    if ending == ".txt":
        path.write_text(text)
    else:
        write(path, [{"text": text}])
    assert [len(found.rstrip()) for found in texts_of(path)] == [len(text.rstrip())]


@pytest.mark.parametrize("ending", [".txt", ".txt.gz", ".csv", ".tsv", ".jsonl", ".json"])
def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path, ending, monkeypatch):
    monkeypatch.setattr(files, "LONGEST_TEXT", 1 << 20)
    monkeypatch.setattr(files, "_LONGEST_LINE", 1 << 20)
    path = tmp_path / f"a{ending}"
    opener = gzip.open if ending.endswith("gz") else open
    with opener(path, "wt") as file:
        file.write("x" * ((1 << 20) + 1))
    with pytest.raises(DataError, match="line 1: expected lines of at most 1 MB, got a longer one"):
        texts_of(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "text,text\na,b\n", "expected a name of its own for every column, got 'text' twice"),
        ("a.csv", "text,label\nslow, bad,neg\n", r"row 1 \(line 2\): expected 2 fields .* got 3"),
        ("a.tsv", "text\tlabel\nslow\tbad\tneg\n", r"row 1 \(line 2\): expected 2 fields .* got 3"),
        ("a.tsv", 'text\tlabel\n"good\tpos\nbad"\tneg\n', r"row 1 \(line 3\): .* looks like several rows"),
        ("a.csv", "text;label\nslow, bad;neg\n", "expected fields with ',' .* as if ';' were between them"),
        ("a.csv", "text\tlabel\ngood\tpos\n", r"expected fields with ',' .* as if '\\t' were between them"),
        ("a.tsv", "text,label\ngood,pos\n", r"expected fields with '\\t' .* as if ',' were between them"),
        ("a.csv", 'text\n"never closed\n', "cannot be read as UTF-8 CSV .row 1"),
        ("a.jsonl", '{"text": "a", "text": "b"}\n', "line 1: expected a name of its own .* 'text' twice"),
        ("a.jsonl", '{"text": ' + "[" * 100_000 + "\n", "line 1: expected one JSON object a line"),
        ("a.jsonl", '{"text": ' + "1" * 5_000 + "}\n", "line 1: expected one JSON object a line"),
        ("a.json", '[{"text": "a"}, 3]', "row 2: expected a JSON object, got '3'"),
        ("a.json", '[{"text": "a"}', "from line 1: expected one JSON object a line"),
        ("a.json", '{"text": {"0": "a"}}', "row 1: expected text in column 'text', got dict"),
        ("a.txt.gz", "not gzip", "a.txt.gz: cannot be read: Not a gzipped file"),
        ("a.txt", b"\xff\xfea\x00", "line 1: expected UTF-8, got byte 0xff"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=said) as refusal:
        texts_of(tmp_path / name)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 1_000


@pytest.mark.parametrize(
    "content",
    [
        b"text,label\rgood film,pos\rbad film,neg\r",
        b"text,label\r\n\r\ngood film,pos\r\nbad film,neg",
        b'\xef\xbb\xbf"text","label"\n"good film",pos\n\n"bad film","neg"\n',
    ],
)
def test_lines_end_as_other_systems_end_them(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    assert texts_of(tmp_path / "a.csv") == ["good film", "bad film"]


def test_columns_of_one_name_in_parquet_are_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="expected a name of its own for every column, got 'text' twice"):
        texts_of(tmp_path / "a.parquet")


def test_a_cut_compressed_file_is_refused(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(os.urandom(50_000).hex().encode())[:20_000])
    with pytest.raises(DataError, match="cannot be read: Compressed file ended"):
        texts_of(path)


def test_a_pipe_is_refused_without_opening_it(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(DataError, match="expected a file, got a device or a pipe"):
        list(files.file_rows(tmp_path / "a.txt"))
