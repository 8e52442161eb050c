"""Settings of a run: presets, files and options; one name for one thing in all recipes."""

import re
from pathlib import Path

import pytest
import yaml
from bad_input.lines import message_in
from recipe_runs import Ran, run_here

OWN = "{name: mine, data: DATA, validation: DATA, columns: [sentence]}"


def _plan(ran: Ran) -> str:
    assert ran.status == 0, ran.err
    return ran.out.partition("\n\n")[0]


def _planned(capfd: pytest.CaptureFixture[str], name: str, *words: object) -> str:
    return _plan(run_here(capfd, name, *words, "--dry-run"))


def test_a_file_changes_a_preset_and_options_change_both(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    # Long and short names, nested and dotted; YAML reads 1e-3 as text.
    file.write_text(
        "steps: 7\nlearning-rate: 1e-3\ncorpus: {sources: ['toy:corpus@smoke']}\noptim.epsilon: 1.0e-8\n"
    )
    ran = run_here(capfd, "pretrain", "--preset", "smoke", "--config", file, "--steps", 9, "--dry-run")
    assert ran.status == 0, ran.err
    changed = yaml.safe_load(ran.out.partition("\n\n")[2])
    assert changed["steps"] == 9
    assert changed["optim"] == {"batch_size": 8, "epsilon": 1e-8}
    assert changed["block_lengths"] == [32, 64]


@pytest.mark.parametrize("name", ["pd", "study", "sweep", "distill"])
def test_all_settings_as_shown_plan_the_same_run(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = run_here(capfd, name, "--preset", "smoke", "--dry-run", "--verbose")
    file = tmp_path / "all.yaml"
    file.write_text(shown.out.rpartition("\n\n")[2])
    assert _planned(capfd, name, "--config", file) == _plan(shown)


def test_a_run_writes_settings_that_plan_it_again_and_count_for_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from wellread_hf.store.records import StageRecord

    runs = tmp_path / "runs"
    words = ("--preset", "smoke", "--vocabulary", 150, "--runs", runs)
    ran = run_here(capfd, "tokenizer", *words)
    assert ran.status == 0, ran.err
    (file,) = runs.glob("tokenizer-*/settings.yaml")
    text = file.read_text()
    assert text.startswith("# All settings of: tokenizer.py --preset smoke --vocabulary 150")
    assert file.name not in StageRecord.read(file.parent).outputs
    plan = _planned(capfd, "tokenizer", "--config", file)
    assert re.findall(r"^\w+ ?\w+", plan, re.M) == ["done"] * 2
    run_here(capfd, "tokenizer", *words, "--debug")
    assert file.read_text() == text, "the first run's command is kept"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("stesp: 3", "there is no setting stesp; the nearest is steps"),
        ("steps: many", ": steps: expected a whole number, got 'many'"),
        ("steps: 0", ": steps must be at least 1, got 0"),
        ("optim: 3", "expected names and values below optim, got 3"),
        ("student: 3-128", "3-128"),
        ("corpus: {sources: text.txt}", ": corpus.sources: expected a list of values"),
        ("- steps", "expected names of settings and their values"),
        ("steps: [", "cannot be read as YAML"),
        ("", "expected names of settings and their values, got None"),
        (None, "there is no file"),
        (b"\xff\xfe\x00", "cannot be read as YAML"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(
    text: str | bytes | None, answer: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    ran = run_here(capfd, "pretrain", "--config", file, "--runs", tmp_path / "runs")
    assert ran.status == 2
    assert answer in message_in(ran)
    assert "mine.yaml" in ran.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("pretrain", "--start toy:encoder@smoke", "--weights toy:encoder@smoke"),
        ("init", "--source toy:encoder@smoke --student 2-128", "--weights toy:encoder@smoke --student 2-128"),
        ("adopt", "--sources toy:release@smoke", "--weights toy:release@smoke"),
        ("pf", "--smoke", "--preset smoke"),
    ],
)
def test_an_old_name_works_for_one_release_with_a_note(
    name: str, old: str, new: str, capfd: pytest.CaptureFixture[str]
) -> None:
    preset = () if "smoke" in old.split()[0] else ("--preset", "smoke")
    before = run_here(capfd, name, *preset, *old.split(), "--dry-run")
    after = run_here(capfd, name, *preset, *new.split(), "--dry-run")
    assert _plan(before) == _plan(after)
    assert f"note: {old.split()[0]} is called {new.split()[0]}" in before.err
    assert "note" not in after.err


@pytest.mark.parametrize(
    ("name", "short", "long"),
    [
        (
            "distill",
            "--epochs 2 --learning-rate 1e-4 --batch-size 4 --max-length 16 --seed 3",
            "--tuning.epochs 2 --tuning.optim.learning-rate 1e-4 "
            "--tuning.optim.batch-size 4 --tuning.max-length 16 "
            "--tuning.seed 3",
        ),
        (
            "pf",
            "--student tiny --minutes 1 --steps None --epochs 2",
            "--pretrain.student tiny --pretrain.minutes 1 --pretrain.steps None --tuning.epochs 2",
        ),
        (
            "teacher",
            "--weights toy:teacher@smoke --task toy",
            "--start.weights toy:teacher@smoke --task.name toy",
        ),
    ],
)
def test_a_short_name_stands_for_the_long_one(
    name: str, short: str, long: str, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = [
        run_here(capfd, name, "--preset", "smoke", *words.split(), "--dry-run", "--verbose").out
        for words in (short, long)
    ]
    assert shown[0] == shown[1] != ""


def test_words_without_an_option_are_the_value_of_the_positional_setting(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("studies: [domain, methods]\n")
    shown = [
        run_here(capfd, "study", *words.split(), "--config", file, "--preset", "toy").out
        for words in (
            "methods --dry-run",
            "--dry-run methods",
            "--studies methods --dry-run",
            "--dry-run --studies=methods",
        )
    ]
    assert {*shown} == {shown[0]} != {""}
    assert yaml.safe_load(shown[0].rpartition("\n\n")[2])["studies"] == ["methods"]
    by_file = run_here(capfd, "study", "--config", file, "--preset", "toy", "--dry-run").out
    assert yaml.safe_load(by_file.rpartition("\n\n")[2])["studies"] == ["domain", "methods"]
    page = run_here(capfd, "wellread study", "--help").out
    assert page.startswith("usage: wellread study [STUDIES] [OPTIONS]")
    assert "--studies" in page


def test_a_task_of_ones_own_is_a_file(
    tmp_path: Path, toy_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = toy_folder / "task/train.jsonl"
    file = tmp_path / "mine.yaml"
    file.write_text(OWN.replace("DATA", str(data)))
    options = ("--task.data", data, "--task.validation", data, "--task.columns", "sentence")
    common = ("--weights", "toy:encoder@smoke")
    by_file = _planned(capfd, "teacher", *common, "--task", file)
    assert by_file == _planned(capfd, "teacher", *common, "--task", "mine", *options)
    assert "-mine-seed0-" in by_file
    other = run_here(capfd, "teacher", *common, "--task", file, "--task.train-rows", 0)
    assert "--task.train-rows must be at least 1" in message_in(other)
    file.write_text("colums: [sentence]")
    assert "there is no setting colums; the nearest is columns" in message_in(
        run_here(capfd, "teacher", "--task", file)
    )


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("pd --preset toy --teacher google/bert", "--teacher google/bert is real"),
        ("pd --preset smoke --weights google/bert", "--weights google/bert is real"),
        (
            "pd --preset smoke --corpus wikimedia/wikipedia,config=20231101.en",
            "--corpus wikimedia/wikipedia,con",
        ),
        ("pd --preset toy --task sst2", "--task sst2 has other rows than the toy task"),
        ("pf --corpus toy:corpus", "--corpus toy:corpus is the toy world's"),
        ("distill --preset smoke --weights google/bert@main", "--weights google/bert@main is real"),
        ("glue --preset smoke --weights google/bert-{layers}", "--weights google/bert-{layers} is real"),
        ("study --preset toy --teacher google/bert", "--teacher google/bert is real"),
    ],
)
def test_the_toy_world_and_real_places_are_not_mixed(
    words: str, answer: str, capfd: pytest.CaptureFixture[str]
) -> None:
    name, *options = words.split()
    ran = run_here(capfd, name, *options, "--dry-run")
    assert ran.status == 2
    assert answer in message_in(ran)


def test_an_error_names_a_setting_as_it_was_typed_else_by_its_short_name(
    capfd: pytest.CaptureFixture[str],
) -> None:
    for option in ("--epochs", "--tuning.epochs", "--tuning.epochs=0"):
        words = option.split("=") if "=" not in option else [option]
        ran = run_here(capfd, "pf", *words, *([] if "=" in option else [0]))
        assert message_in(ran).startswith(f"error: {option.partition('=')[0]} must be above 0")
    assert "--preset: expected one of smoke, smoke-tags, got 'samll'" in message_in(
        run_here(capfd, "pf", "--preset", "samll")
    )
