"""What a run prints last: scores beside the commonest class, the folders, and the next command."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wellread_hf.cli.options import options_of, short_name
from wellread_hf.errors import StoreError
from wellread_hf.metrics.baselines import commonest, counts_of
from wellread_hf.metrics.scores import metric_at
from wellread_hf.results.class_table import class_table
from wellread_hf.results.tables import Table
from wellread_hf.results.typed import typed
from wellread_hf.settings import Corpus, Running, Task, Transfer
from wellread_hf.stages.importing import transfer_of
from wellread_hf.store.records import StageRecord
from wellread_hf.store.stage import Stage

_TOY = "toy"
# All other stages make a model.
_MADE = {"label": "soft labels", "tokenizer": "tokenizer"}
# Where an outcome has scores: its key, the split, and whose they are.
_SCORED = (
    ("validation", "validation", ""),
    ("test", "test", ""),
    ("teacher_validation", "validation", "the teacher's "),
)


def show_result(settings: Any, stages: Sequence[Stage]) -> None:
    """Prints the scores and folders of a recipe's finished stages, and the command that follows the last."""
    for stage in stages:
        for line in _lines(stage.record.outcome):
            print(line)
        _show_classes(stage)
        print(f"{_MADE.get(stage.kind, 'model')}: {stage.folder}")
    last = stages[-1]
    print(f"next: {_NEXT[last.kind](settings, last)}")


def show_export(settings: Any, stages: Sequence[Stage]) -> None:
    """Prints what the graphs of an export are worth, and the command that asks them."""
    (stage,) = stages
    found = stage.record.outcome
    head = ("file", "MB", metric_at(found["metric"]), "same answers", "speed", "kept")
    rows = []
    for name, file in found["files"].items():
        speed = file.get("speed_over_fp32", {"value": 1.0})["value"]
        score, same = (100 * value for value in (file["scores"][found["metric"]], file.get("agreement", 1.0)))
        kept = "no" if "refused" in file else "yes"
        rows.append(
            (name, f"{file['bytes'] / 1e6:.2f}", f"{score:.2f} %", f"{same:.1f} %", f"{speed:.2f}x", kept)
        )
    notes = [
        f"{name} is not kept: {file['refused']}" for name, file in found["files"].items() if "refused" in file
    ]
    notes += [
        f"{found['rows']:,} validation rows; fp32's logits differ from torch's by at most "
        f"{found['files']['model.onnx']['max_logit_difference']:.1g}"
    ]
    if found["temperature"] != 1:
        notes.append(
            f"the graphs divide logits by {found['temperature']:.2f}, so probabilities are calibrated"
        )
    Table(head, rows, notes).show(f"{stage.name}, {found['machine']['cpu']}")
    print(f"export: {stage.folder}")
    print(f"next: {typed('predict', str(stage.folder), 'a text of your own')}")


def show_evaluations(settings: Any, stages: Sequence[Stage]) -> None:
    """Prints what classifiers score, how far their probabilities can be believed, and the next command."""
    first = stages[0].record.outcome
    head = ("model", metric_at(first["metric"]), "rows", "calibration error", "temperature", "after it")
    rows = []
    for stage in stages:
        found = stage.record.outcome
        calibration = found["calibration"]
        believed: list[str | None] = [None] * 3
        if calibration is not None:
            errors = [f"{100 * calibration[name]:.1f} %" for name in ("ece_before", "ece_after")]
            believed = [errors[0], f"{calibration['temperature']:.2f}", errors[1]]
        error = f" ± {100 * found['standard_error']:.1f}" if "standard_error" in found else ""
        score = f"{100 * found['scores'][found['metric']]:.1f}{error} %"
        rows.append((stage.name, score, f"{found['rows']:,}", *believed))
    notes = ["± is one standard error over rows; the error after the temperature is that of rows not fitted"]
    Table(head, rows, notes).show(f"{first['task']}, validation rows")
    for stage in stages:
        _show_classes(stage)
    for stage in stages:
        print(f"predictions: {stage.folder}")
    print(f"next: {typed('pick', str(settings.running.runs), '--max-mb', '20')}")


def _show_classes(stage: Stage) -> None:
    """Prints the scores of each class, where there are more than two or these are uneven."""
    if (table := class_table(stage.record.outcome.get("per_class", ()))) is not None:
        table.show(f"{stage.name}, validation rows by class")


def _score_lines(outcome: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line a split: the first metric's score, the rows, and the share of the commonest class."""
    metric = outcome.get("metric", "")
    for key, split, whose in _SCORED:
        if metric not in outcome.get(key, {}):
            continue
        counts = counts_of(outcome, split)
        rows = outcome.get(f"{key}_rows", sum(counts.values()))
        # Of a table, its agreement with true labels is recorded.
        whose = "the soft labels' " if whose and "agreement" in outcome else whose
        line = f"{whose}{metric_at(metric)} {100 * outcome[key][metric]:.1f} % on {split}"
        line += f", {rows:,} rows" if rows else ""
        # A share of words says nothing beside the F1 of entities.
        if metric != "entity_f1" and (found := commonest(counts)):
            line += f"; the commonest class, {found[0]!r}, has {100 * found[1]:.1f} %"
        yield line


def _prompt_lines(outcome: Mapping[str, Any]) -> Iterator[str]:
    """Yields what a language model that was asked said of its label words, and what calibration changed."""
    if (mass := outcome.get("label_words_mass")) is None:
        return
    of = f"{mass['prompts']:,} prompts" if "prompts" in mass else "the rows"
    yield (
        f"the label words have {100 * mass['median']:.1f} % of the probability (median), and less than 1 % "
        f"on {100 * mass['below_1_percent']:.1f} % of {of}"
    )
    if "teacher_validation_ece" not in outcome:
        return
    line = f"the teacher's calibration error {100 * outcome['teacher_validation_ece']:.1f} % on validation"
    if before := outcome.get("uncalibrated"):
        metric = outcome["metric"]
        free = ", ".join(f"{name!r} {100 * share:.1f} %" for name, share in before["content_free"].items())
        line += (
            f"; without contextual calibration {100 * before['teacher_validation_ece']:.1f} %, and "
            f"{metric_at(metric)} {100 * before['teacher_validation'][metric]:.1f} %; of texts without "
            f"content it says {free}"
        )
    yield line


def _lines(outcome: Mapping[str, Any]) -> Iterator[str]:
    yield from _score_lines(outcome)
    yield from _prompt_lines(outcome)
    if "unigram_loss" in outcome:
        yield (
            f"held-out MLM loss {outcome['held_out_loss']:.2f} nats after {outcome['tokens']:,} tokens; word "
            f"frequencies alone have {outcome['unigram_loss']:.2f}"
        )
    if "vocabulary_before" in outcome:
        yield (
            f"{outcome['vocabulary']:,} of {outcome['vocabulary_before']:,} pieces are kept, "
            f"{100 * outcome['share_kept']:.2f} % of the text; {outcome['parameters']:,} of "
            f"{outcome['parameters_before']:,} parameters"
        )
        if (rows := outcome["held_out"])["words"]:
            examples = f", e.g. {', '.join(rows['examples'][:5])}" if rows["examples"] else ""
            yield (
                f"of the words of validation rows {100 * rows['otherwise']:.2f} % are split differently, "
                f"{100 * rows['unknown']:.2f} % are unknown now{examples}"
            )


def words_of(settings: Any, default: Any, prefix: str = "") -> list[str]:
    """Returns the words of a command line that make settings of their defaults."""
    usual = {option.name: option.value for option in options_of(default, prefix)}
    words: list[str] = []
    for option in options_of(settings, prefix):
        value = option.value
        if value == usual[option.name]:
            continue
        if isinstance(value, bool):
            parent, _, name = option.name.rpartition(".")
            # tyro writes the opposite of a flag as `no-` before its last part.
            words.append(f"--{option.name}" if value else f"--{parent + '.' if parent else ''}no-{name}")
        else:
            words += [
                f"--{short_name(option.name)}",
                *map(str, value if isinstance(value, tuple) else [value]),
            ]
    return words


def _shared(settings: Any) -> list[str]:
    """Returns the options that every recipe has: the task, and how it is run."""
    task = words_of(settings.task, Task(), "task.") if hasattr(settings, "task") else []
    return [*task, *words_of(settings.running, Running(), "running.")]


def _teach(settings: Any, stage: Stage) -> str:
    """A pre-trained or distilled student is fine-tuned: on its task, or on one whose words it has read."""
    task = [] if hasattr(settings, "task") else ["--task", *_task_of(settings)]
    return typed("pf", "--weights", str(stage.folder), *task, *_shared(settings))


def _task_of(settings: Any) -> list[str]:
    """Returns the task of the world that a student has read, as words of a command line."""
    source = getattr(getattr(settings, "init", None), "source", None)
    sources = getattr(getattr(settings, "corpus", settings), "sources", ())
    toy = [str(place) for place in (*sources, source) if str(place).startswith("toy:")]
    if not toy:
        return [Task().name]
    size = toy[0].partition("@")[2]
    # A toy world of another size has other rows, so its size goes along.
    return [_TOY, *(["--task.data", f"toy:task@{size}"] if size else [])]


def _tuned(settings: Any, stage: Stage) -> str:
    """A teacher labels; a student is trained with another seed, which shows the spread."""
    if not hasattr(settings, "pretrain"):
        return typed("label", "--teacher", str(stage.folder), *_shared(settings))
    again = replace(settings, tuning=replace(settings.tuning, seed=settings.tuning.seed + 1))
    return typed("pf", *words_of(again, type(settings)()))


def _distil(settings: Any, stage: Stage) -> str:
    """Soft labels teach a student: the last one that was pre-trained in the same folder of runs."""
    transfer = settings.transfer
    if hasattr(settings, "imported"):
        transfer = transfer_of(settings.imported, transfer)
    weights = _pretrained(settings.running.runs)
    start = [] if weights is None else ["--weights", weights]
    return typed(
        "distill",
        "--labels",
        str(stage.folder),
        *start,
        *words_of(transfer, Transfer(), "transfer."),
        *_shared(settings),
    )


def _pretrained(runs: Path) -> str | None:
    """Returns the student that was pre-trained or taken over last."""
    found = [path.parent for kind in ("pretrain", "adopt") for path in runs.glob(f"{kind}-*/stage.json")]
    for folder in sorted(found, key=lambda folder: -(folder / "stage.json").stat().st_mtime):
        try:
            # A folder whose record is damaged would be refused by the next command.
            StageRecord.read(folder)
        except StoreError:
            continue
        return str(folder)
    return None


def _read(settings: Any, stage: Stage) -> str:
    """A tokenizer serves pre-training on the text that it was made of."""
    corpus = replace(settings.corpus, tokenizer=str(stage.folder))
    return typed("pretrain", *words_of(corpus, Corpus(), "corpus."), *_shared(settings))


def _pruned(settings: Any, stage: Stage) -> str:
    """A pruned classifier is scored again; a pruned encoder has yet to learn its task."""
    if not stage.record.outcome["architecture"].endswith("ForSequenceClassification"):
        return _teach(settings, stage)
    return typed("eval", str(stage.folder), *_shared(settings))


_NEXT: Mapping[str, Callable[[Any, Stage], str]] = {
    "tokenizer": _read,
    "pretrain": _teach,
    "adopt": _teach,
    "init": _teach,
    "finetune": _tuned,
    "label": _distil,
    "distill": _teach,
    "prune": _pruned,
}
