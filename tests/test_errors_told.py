"""A mistake of the user is answered by one sentence and status 2, and leaves nothing that looks finished."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from recipe_runs import Ran, launch, recipe, run_command, run_here

from wellread_hf.cli import with_errors_told

SENTENCES = [
    {"sentence": f"{thing} was {verdict}", "label": label}
    for thing in ("it", "about", "while", "so", "then")
    for label, verdict in enumerate(("here", "there", "now", "soon")[:2])
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, toy_folder: Path, toy_tokenizer: Any) -> Path:
    """A folder with small good files and models, and with one bad thing of each kind."""
    from transformers import BertForSequenceClassification, BertTokenizer

    from wellread_hf.models.loading import new_classifier
    from wellread_hf.students import Student

    here = tmp_path_factory.mktemp("place")
    (here / "good.txt").write_text("\n".join((toy_folder / "corpus.txt").read_text().splitlines()[:300]))
    (here / "empty.txt").write_text("")
    (here / "short.txt").write_text("it was here\n")
    (here / "latin.txt").write_bytes("good\nsch\xf6n\n".encode("latin-1"))
    (here / "nul.txt").write_bytes(b"it was here\nit was\0there\n")
    (here / "broken.parquet").write_bytes(b"PAR1 and then nothing")
    (here / "text.doc").write_text("it was here\n")
    _rows(here / "numbers.jsonl", [{"text": "it was here"}, {"text": 7}])
    (here / "list.jsonl").write_text('["it was here"]\n')
    (here / "cut.jsonl").write_text('{"text": "it was he\n')

    _rows(here / "train.jsonl", SENTENCES)
    _rows(here / "pool.jsonl", [{"sentence": row["sentence"]} for row in SENTENCES])
    for name, label in {"outside": 7, "nan": float("nan"), "missing": None, "word": "maybe"}.items():
        _rows(here / f"{name}.jsonl", [*SENTENCES, {"sentence": "it was now", "label": label}])
    _rows(here / "one-class.jsonl", [{**row, "label": 0} for row in SENTENCES])
    _rows(here / "values.jsonl", [{**row, "label": 0.5 + row["label"]} for row in SENTENCES])
    _rows(here / "no-label.jsonl", [{"sentence": row["sentence"]} for row in SENTENCES])
    _rows(here / "not-text.jsonl", [*SENTENCES, {"sentence": None, "label": 0}])

    toy_tokenizer.save_pretrained(here / "tokenizer")
    vocabulary = toy_tokenizer.get_vocab()
    for new in range(20):
        vocabulary[f"new{new}"] = len(vocabulary)
    BertTokenizer(vocab=vocabulary).save_pretrained(here / "bigger-tokenizer")
    settings = here / "no-mask-tokenizer/tokenizer_config.json"
    toy_tokenizer.save_pretrained(settings.parent)
    settings.write_text(
        json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", "cls_token": "[CLS]", "sep_token": "[SEP]"}
            | {"pad_token": "[PAD]", "unk_token": "[UNK]"}
        )
    )

    names = {"two": ("0", "1"), "three": ("0", "1", "2"), "value": (), "other-names": ("up", "down")}
    for name, labels in names.items():
        model = new_classifier(Student(2, 128), len(toy_tokenizer), labels, seed=0)
        assert isinstance(model, BertForSequenceClassification)
        model.save_pretrained(here / name)
        toy_tokenizer.save_pretrained(here / name)
    model.bert.save_pretrained(here / "headless")
    toy_tokenizer.save_pretrained(here / "headless")

    import torch

    toy_tokenizer.save_pretrained(here / "pickled")
    model.config.save_pretrained(here / "pickled")
    torch.save(model.state_dict(), here / "pickled/pytorch_model.bin")
    toy_tokenizer.save_pretrained(here / "own-code")
    auto_map = {"AutoConfig": "code.Config", "AutoModelForMaskedLM": "code.Model"}
    auto_map["AutoModelForSequenceClassification"] = "code.Model"
    (here / "own-code/config.json").write_text(json.dumps({"model_type": "odd", "auto_map": auto_map}))
    (here / "own-code/code.py").write_text("raise SystemExit('this code must not run')\n")
    return here


def _rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


PRETRAIN = ("pretrain", "--corpus.sources good.txt --corpus.tokenizer tokenizer --block-lengths 32 --steps 2")
TASK = "--task.name mine --task.data train.jsonl --task.validation train.jsonl --task.columns sentence"
TEACHER = ("teacher", f"--start.weights two {TASK} --epochs 1 --optim.batch-size 4")
LABEL = ("label", f"--teacher two {TASK}")
DISTILL = ("distill", f"--teacher two --start.weights two {TASK} --tuning.epochs 1")

# (id, (recipe, options), changed or further options, words that the sentence must have)
CASES: list[tuple[str, tuple[str, str], str, tuple[str, ...]]] = [
    ("student", PRETRAIN, "--student 5-300", ("24 students", "5-300", "bert-4-256")),
    ("student's word", PRETRAIN, "--student huge", ("24 students", "'huge'", "mini")),
    ("task", TEACHER, "--task.name sts2 --task.data None --task.columns", ("'sts2'", "sst2", "--task.data")),
    ("column", TEACHER, "--task.columns sentense", ("'sentense'", "--task.columns sentence")),
    ("label column", TEACHER, "--task.label lable", ("'lable'", "--task.label label")),
    ("corpus column", PRETRAIN, "--corpus.sources pool.jsonl", ("'text'", "'sentence'", ",column=sentence")),
    ("source option", PRETRAIN, "--corpus.sources good.txt,colum=text", ("'colum=text'", "column")),
    ("ending", PRETRAIN, "--corpus.sources text.doc", (".txt, .jsonl, .parquet", ".doc", "convert")),
    ("empty corpus", PRETRAIN, "--corpus.sources empty.txt", ("too short", "0 texts", "more text")),
    ("empty for tokenizer", ("tokenizer", ""), "--corpus.sources empty.txt", ("empty", "--corpus.sources")),
    ("short corpus", PRETRAIN, "--corpus.sources short.txt", ("two blocks of 32", "--block-lengths")),
    ("no text", PRETRAIN, "--corpus.sources numbers.jsonl", ("row 2", "expected text", "int 7", "mend")),
    ("NUL", PRETRAIN, "--corpus.sources nul.txt", ("row 2", "NUL", "mend")),
    ("UTF-8", PRETRAIN, "--corpus.sources latin.txt", ("line 2", "UTF-8", "0xf6", "convert")),
    ("no object", PRETRAIN, "--corpus.sources list.jsonl", ("line 1", "JSON object")),
    ("cut JSON", PRETRAIN, "--corpus.sources cut.jsonl", ("line 1", "JSON object")),
    ("broken Parquet", PRETRAIN, "--corpus.sources broken.parquet", ("broken.parquet", "Parquet")),
    ("no text in a task", TEACHER, "--task.data not-text.jsonl", ("row 11", "expected text", "NoneType")),
    ("label outside", TEACHER, "--task.data outside.jsonl --task.labels no yes", ("row 11", "no, yes", "7")),
    ("validation label", TEACHER, "--task.validation outside.jsonl", ("validation row 11", "0, 1", "7")),
    ("label missing", TEACHER, "--task.data missing.jsonl", ("row 11", "0, 1", "None", "mend")),
    ("label NaN", TEACHER, "--task.data nan.jsonl --task.labels no yes", ("row 11", "no, yes", "nan")),
    ("a word among numbers", TEACHER, "--task.data word.jsonl --task.labels 0 1", ("row 11", "'maybe'")),
    ("value missing", TEACHER, "--task.data missing.jsonl --task.regression", ("row 11", "number", "None")),
    ("value NaN", TEACHER, "--task.data nan.jsonl --task.regression", ("row 11", "number", "nan")),
    ("one class", TEACHER, "--task.data one-class.jsonl", ("two kinds", "all 10 rows")),
    ("no validation", TEACHER, "--task.validation None", ("validation rows", "--task.validation")),
    ("no columns", TEACHER, "--task.columns", ("'mine'", "--task.columns")),
    ("train rows", TEACHER, "--task.train-rows 900", ("--task.train-rows 900", "there are 10 rows")),
    ("mask token", PRETRAIN, "--corpus.tokenizer no-mask-tokenizer", ("mask_token", "recipes/tokenizer.py")),
    ("big tokenizer", PRETRAIN, "--corpus.tokenizer bigger-tokenizer --start two", ("embedding",)),
    ("big tokenizer, tuned", TEACHER, "--start.tokenizer bigger-tokenizer", ("embedding",)),
    ("no tokenizer", TEACHER, "--start.weights None --start.student 2-128", ("--start.tokenizer",)),
    ("long rows", TEACHER, "--max-length 600", ("--max-length 600", "512", "at most")),
    ("long rows, labelled", LABEL, "--label.max-length 600", ("--label.max-length 600", "512")),
    ("long blocks", PRETRAIN, "--block-lengths 600", ("--block-lengths 600", "512", "at most")),
    ("other number", LABEL, "--teacher three", ("3 classes", "2 classes", "recipes/teacher.py")),
    ("regression teacher", LABEL, "--teacher value", ("regression", "2 classes (0, 1)")),
    ("regression task", LABEL, "--task.data values.jsonl --task.validation values.jsonl --task.regression",
     ("2 classes", "regression")),
    ("label names", LABEL, "--teacher other-names", ("up, down", "0, 1", "--label.teacher-labels")),
    ("no head", LABEL, "--teacher headless", ("trained classifier", "recipes/teacher.py")),
    ("no teacher", LABEL, "--teacher None", ("--teacher", "recipes/teacher.py")),
    ("no teacher to distil", DISTILL, "--teacher None", ("--teacher", "recipes/teacher.py")),
    ("hard labels", DISTILL, "--transfer.sources pool.jsonl,column=sentence --objective.hard-label-share 0.5",
     ("--objective.hard-label-share", "--transfer.sources task")),
    ("method", DISTILL, "--objective.method pateint", ("soft-labels, patient", "'pateint'", "nearest")),
    ("a map for nothing", DISTILL, "--objective.layers last", ("--objective.layers means", "patient")),
    ("no states", DISTILL, "--objective.method patient", ("[CLS] states", "label again", "one teacher")),
    ("other states", DISTILL, "--objective.method patient --label.states 2",
     ("layers 1, got those of 2", "--label.states 1 2")),
    ("layer of the student", DISTILL, "--objective.method patient --label.states 1 --objective.layers 3:1",
     ("--objective.layers 3:1", "student, 1 to 2")),
    ("layer of the teacher", DISTILL, "--objective.method patient --label.states 1 --objective.layers 1:3",
     ("--objective.layers 1:3", "one of the teacher, 1 to 2")),
    ("shallow teacher", DISTILL, "--objective.method patient --label.states 1 --start.weights None "
     "--start.student 4-128 --start.tokenizer tokenizer", ("4 layers", "teacher 2", "name pairs")),
    ("other width", DISTILL, "--objective.method patient --label.states 1 --start.weights None "
     "--start.student 2-256 --start.tokenizer tokenizer", ("256", "128", "--objective.projection")),
    ("projection and LoRA", DISTILL, "--objective.method patient --label.states 1 --objective.projection "
     "--lora-rank 2", ("--objective.projection", "--lora-rank", "leave out one")),
    ("stored layer", LABEL, "--label.states 1 9", ("--label.states 1 9", "2 layers", "1 to 2")),
    ("stored layer 0", LABEL, "--label.states 0", ("--label.states", "counted from 1", "0")),
    ("weights of teachers", LABEL, "--teacher two two --teacher-weights 1", ("2 in all", "got 1")),
    ("negative weight", LABEL, "--teacher two two --teacher-weights 1 -1", ("--teacher-weights", "1 -1")),
    ("weights of nothing", LABEL, "--teacher two two --teacher-weights 0 0", ("--teacher-weights", "0 0")),
    ("states of several", LABEL, "--teacher two two --label.states 1", ("--label.states", "one teacher")),
    ("pickle", TEACHER, "--start.weights pickled", ("pickled", "safetensors", "recipes/adopt.py --pickle")),
    ("pickle, pre-trained", PRETRAIN, "--start pickled", ("pickled", "@refs/pr/N", "recipes/adopt.py")),
    ("own code", TEACHER, "--start.weights own-code", ("own-code", "trust-remote-code")),
    ("own code, pre-trained", PRETRAIN, "--start own-code", ("own-code", "trust-remote-code")),
    ("own code, teacher", LABEL, "--teacher own-code", ("own-code", "trust-remote-code")),
    ("NaN", PRETRAIN, "--optim.learning-rate 1e30 --optim.warmup 0 --steps 20 --optim.batch-size 4",
     ("loss", "at step", "--optim.learning-rate")),
    ("temperature", DISTILL, "--objective.temperature 0", ("--objective.temperature must be above 0",)),
    ("an option by its whole name", DISTILL, "--tuning.optim.learning-rate 0",
     ("--tuning.optim.learning-rate must be above 0",)),
    ("an infinite number", DISTILL, "--tuning.optim.learning-rate inf",
     ("--tuning.optim.learning-rate: expected a finite number, got inf",)),
    ("an option of the chain by its whole name", ("pd", ""), "--task.name sst2 --pf.max-length 4",
     ("--pf.max-length must be at least 8, got 4",)),
    ("steps and minutes", PRETRAIN, "--minutes 1", ("--steps or --minutes", "not both")),
    ("no network", ("pretrain", ""), "", ("--corpus.sources", "wikimedia/wikipedia", "local file or folder")),
    ("no network for a task", ("teacher", ""), "--start.weights two", ("--task.data", "local file")),
    ("no network for weights", TEACHER, "--start.weights google/bert_uncased_L-2_H-128_A-2",
     ("--start.weights", "local file or folder")),
]  # fmt: skip


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub is a port of this machine where nobody listens."""
    from huggingface_hub import constants
    from huggingface_hub.hf_api import HfApi

    asked = HfApi.repo_info
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        HfApi,
        "repo_info",
        lambda api, *args, **kwargs: asked(HfApi(endpoint="http://127.0.0.1:9"), *args, **kwargs),
    )


def _merged(base: str, changes: str) -> list[str]:
    """Replaces options of `base` by those of `changes`."""
    options: dict[str, list[str]] = {}
    for word in f"{base} {changes}".split():
        if word.startswith("--"):
            values = options[word] = []
        else:
            values.append(word)
    return [word for option, values in options.items() for word in (option, *values)]


def _told(ran: Ran) -> str:
    """Returns the one sentence, after looking at all else that must hold."""
    assert ran.status == 2, f"status {ran.status}\n{ran.out}\n{ran.err}"
    assert "Traceback" not in ran.out + ran.err
    told = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1, ran.err
    assert len(told[0]) < 700, told[0]
    assert ran.err.rstrip().splitlines()[-1] == told[0], "more than one line"
    return told[0]


def _nothing_half_written(runs: Path, out: str) -> None:
    """What was begun and not finished has no record; nothing but beginnings lie in its folder."""
    begun = set(re.findall(r"starts in (/\S+)", out)) - set(re.findall(r": done in .* in (/\S+)", out))
    for folder in map(Path, begun):
        assert not (folder / "stage.json").exists()
        assert not list(folder.glob("*.safetensors"))
        assert not (folder / "blocks.bin").exists()
        assert not list(folder.glob("*.part"))


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("command", "changes", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_one_sentence_tells_what_came_and_what_to_do(
    command: tuple[str, str],
    changes: str,
    words: tuple[str, ...],
    place: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    name, base = command
    ran = run_here(capfd, name, *_merged(base, changes), "--running.runs", tmp_path / "runs")
    told = _told(ran)
    for word in words:
        assert word in told
    _nothing_half_written(tmp_path / "runs", ran.out)


@pytest.mark.parametrize(
    "changes",
    [
        "--objective.layers 3:1",
        "--label.states 1 2 --objective.layers 1:3",
        "--start.weights None --start.student 4-128 --start.tokenizer tokenizer",
        "--start.weights None --start.student 2-256 --start.tokenizer tokenizer",
    ],
    ids=["layer of the student", "layer of the teacher", "shallow teacher", "width"],
)
def test_states_that_cannot_be_compared_are_refused_before_anything_is_labelled(
    changes: str,
    place: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    base = " ".join(_merged(DISTILL[1], "--objective.method patient --label.states 1"))
    ran = run_here(capfd, "distill", *_merged(base, changes), "--running.runs", tmp_path / "runs")
    _told(ran)
    assert not list((tmp_path / "runs").glob("label-*"))


@pytest.mark.parametrize(
    ("command", "words", "told"),
    [
        ("pretrain", "--studnet 2-128", "--studnet: there is no such option; expected --student"),
        ("pretrain", "--optim.lerning-rate 1", "expected --optim.learning-rate"),
        ("teacher", "--weights two", "expected --start.weights"),
        ("teacher", "--tuning.epochs 3", "expected --epochs"),
        ("distill", "--epochs 3", "expected --tuning.epochs"),
        ("distill", "--student 2-128", "expected --start.student"),
        ("distill", "--label.teacher two", "expected --teacher"),
        ("label", "--start.weights two", "expected --teacher"),
        ("pretrain", "--weights two", "expected --start"),
        ("glue", "--seed 3", "expected --seeds"),
        ("teacher", "--batch-size=8", "expected --optim.batch-size"),
        ("teacher", "--lr 1", "expected --optim.learning-rate"),
        ("teacher", "--fp16", "expected --optim.precision bf16"),
        ("teacher", "--output_dir x", "expected --running.runs"),
        ("teacher", "--device cuda", "CUDA_VISIBLE_DEVICES"),
        ("tokenizer", "--zzzzzz 1", "there is no such option; see --help"),
        ("teacher", "word", "the word 'word', which belongs to none"),
        ("teacher", "--epochs abc", "--epochs: expected a number, got 'abc'"),
        ("pretrain", "--steps 1.5", "--steps: expected a whole number, got '1.5'"),
        ("pretrain", f"--steps {'9' * 5000}", "--steps: expected a whole number, got '9999"),
        ("teacher", "--epochs", "--epochs: expected a value, got none"),
        ("glue", "--method pdd", "--method: expected one of pf, pd, got 'pdd'; the nearest is pd"),
    ],
)
def test_a_word_that_an_option_does_not_take_is_answered_in_one_line_with_the_right_name(
    command: str, words: str, told: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ran = run_here(capfd, command, *words.split(), "--running.runs", tmp_path / "runs")
    assert told in _told(ran)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("raised", "status", "told"),
    [
        (
            PermissionError(13, "Permission denied", "x.txt"),
            2,
            "error: x.txt: Permission denied; give a place",
        ),
        (OSError(36, "File name too long", "x" * 5000), 2, "File name too long; give a shorter name"),
        (OSError(28, "No space left on device", "x"), 2, "error: the disk is full"),
        (RecursionError("maximum recursion depth exceeded"), 2, "nested too deeply"),
        (MemoryError(), 2, "the memory is full"),
        (UnicodeEncodeError("utf-8", "x", 0, 1, "surrogates not allowed"), 2, "expected text in UTF-8"),
        (TypeError("a defect"), 70, "internal error: this is a defect of wellread_hf"),
        (KeyError("name"), 70, "KeyError: KeyError 'name'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_is_raised_ends_in_one_line(
    raised: Exception, status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise raised

    with pytest.raises(SystemExit) as end:
        with_errors_told(False, work)
    assert end.value.code == status
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert len(line) < 700
    with pytest.raises(type(raised)):
        with_errors_told(True, work)


def test_a_reader_that_has_gone_is_told_nothing() -> None:
    ran = run_command(["bash", "-c", ".venv/bin/wellread students | true; echo ${PIPESTATUS[0]}"])
    assert (ran.out.strip(), ran.err) in (("141", ""), ("0", ""))


def test_debug_shows_the_traceback(place: Path, tmp_path: Path) -> None:
    options = ["--corpus.sources", place / "empty.txt", "--corpus.tokenizer", place / "tokenizer"]
    command = [sys.executable, recipe("tokenizer"), *options, "--running.runs", tmp_path / "runs"]
    quiet = run_command(command)
    assert "the corpus is empty" in _told(quiet)
    loud = run_command([*command, "--debug"])
    assert loud.status == 1
    assert "Traceback" in loud.err
    assert "DataError: the corpus is empty" in loud.err


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("damage", [_flip, _truncate, Path.unlink], ids=["flipped", "truncated", "missing"])
def test_a_damaged_shard_of_soft_labels_is_refused_and_made_again(
    damage: Callable[[Path], None],
    place: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    runs = ("--running.runs", tmp_path / "runs")
    shards = "--label.shard-rows 4"
    labelled = run_here(capfd, "label", *_merged(LABEL[1], shards), *runs)
    assert labelled.status == 0, labelled.err
    (store,) = (tmp_path / "runs").glob("label-*")
    shard = sorted(store.glob("shard-*"))[1]
    damage(shard)
    distil = _merged(DISTILL[1], f"{shards} --tuning.optim.batch-size 4")
    told = _told(run_here(capfd, "distill", *distil, *runs))
    assert "shard" in told
    assert "recipes/label.py" in told
    # What the sentence says helps.
    (store / "stage.json").unlink()
    shard.unlink(missing_ok=True)
    assert run_here(capfd, "label", *_merged(LABEL[1], shards), *runs).status == 0
    assert run_here(capfd, "distill", *distil, *runs).status == 0
    assert json.loads((store / "stage.json").read_text())["outcome"]["shards_reused"] == 2


def test_a_checkpoint_of_another_run_is_refused(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from wellread_hf.records import RECORD

    monkeypatch.chdir(place)
    options = (*_merged(*PRETRAIN[1:], "--steps 2 --optim.batch-size 4"), "--running.runs", tmp_path / "runs")
    plan = run_here(capfd, "pretrain", *options, "--dry-run")
    folder = Path(re.findall(r"(/\S+/pretrain-\S+)", plan.out)[0])
    checkpoint = folder / "checkpoints/checkpoint-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text('{"best_model_checkpoint": null}')
    (checkpoint / "complete.json").write_text(json.dumps({"run": "f" * 64, "seconds": 1, "sizes": {}}))
    told = _told(run_here(capfd, "pretrain", *options))
    assert "belongs to another run" in told
    assert "delete" in told
    assert not (folder / RECORD).exists()


def test_of_two_processes_one_tells_and_both_end(place: Path, tmp_path: Path) -> None:
    options = ("--corpus.sources", place / "empty.txt", "--corpus.tokenizer", place / "tokenizer")
    ran = launch(2, recipe("pretrain"), *options, "--running.runs", tmp_path / "runs")
    assert ran.status != 0
    assert ran.err.count("error: the corpus") == 1, ran.err
    # The launcher has a report of its own; no process of ours may add a traceback of a broken connection.
    assert "gloo" not in ran.err.lower()
    assert not list((tmp_path / "runs").rglob(".lock"))
