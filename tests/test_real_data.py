"""The same path on a few hundred real rows, where the real data lies beside the checkout."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from recipe_runs import run_here

from wellread_hf.store.records import StageRecord

ROWS = 200


@pytest.fixture(scope="module")
def few(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few real rows, in the files and folders that a user would have."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    here = tmp_path_factory.mktemp("few")
    (here / "sst2").mkdir()
    for split in ("train", "validation"):
        (source,) = (shared / "data/glue/sst2").glob(f"{split}-*.parquet")
        pq.write_table(pq.read_table(source).slice(0, ROWS), here / "sst2" / f"{split}-00000.parquet")
    # A folder in Hub layout: its README says which files are which split.
    (here / "wikipedia/some").mkdir(parents=True)
    (source,) = (shared / "data/wikipedia_slice/default").glob("train-*.parquet")
    with pq.ParquetFile(source) as file:
        articles = next(file.iter_batches(batch_size=ROWS, columns=["text"]))
    pq.write_table(pa.Table.from_batches([articles]), here / "wikipedia/some/train-00000.parquet")
    (here / "wikipedia/README.md").write_text(
        "---\nconfigs:\n- config_name: some\n  data_files:\n  - split: train\n    path: some/train-*\n---\n"
    )
    (source,) = (shared / "data/movie_sentences/default").glob("train-*.parquet")
    with pq.ParquetFile(source) as file:
        batch = next(file.iter_batches(batch_size=ROWS))
    (column,) = (name for name in ("sentence", "text") if name in batch.schema.names)
    rows: Iterator[str] = islice(batch.column(column).to_pylist(), ROWS)
    (here / "movies.jsonl").write_text("".join(json.dumps({"line": text}) + "\n" for text in rows))
    return here


def _only(runs: Path, kind: str) -> dict[str, Any]:
    (folder,) = runs.glob(f"{kind}-*")
    return dict(StageRecord.read(folder).outcome) | {"folder": folder}


def test_from_real_text_to_a_distilled_student(
    shared: Path, few: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import numpy as np
    from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline

    from wellread_hf.labelling.soft_labels import SoftLabels
    from wellread_hf.settings import Running, Task
    from wellread_hf.stages.inputs import FoundTask

    runs = tmp_path / "runs"
    running = ("--running.runs", runs)
    vocabulary = shared / "models/bert-base-uncased"
    teacher = shared / "models/minilm-l6-sst2"

    corpus = ("--corpus.sources", f"{few / 'wikipedia'},config=some", "--corpus.tokenizer", vocabulary)
    optim = ("--optim.batch-size", 8, "--optim.learning-rate", 2e-3)
    ran = run_here(capfd, "pretrain", *corpus, "--steps", 20, "--block-lengths", 64, *optim, *running)
    assert ran.status == 0, ran.err
    encoder = _only(runs, "pretrain")
    # From ln(30,522) = 10.3 down: the frequent words have been learnt.
    assert encoder["held_out_loss"] < 10.0
    AutoModelForMaskedLM.from_pretrained(encoder["folder"])

    # The teacher reads dev sentences too, as a transfer set, to see that its logits are its own.
    task = ("--task.name", "sst2", "--task.data", few / "sst2", "--task.columns", "sentence")
    names = ("--task.labels", "negative", "positive")
    dev = f"{few / 'sst2'},split=validation,column=sentence"
    ran = run_here(
        capfd, "label", "--teacher", teacher, *task, *names, "--transfer.sources", dev,
        "--transfer.no-guard", "--running.runs", tmp_path / "dev",
    )  # fmt: skip
    assert ran.status == 0, ran.err
    settings = Task(
        name="sst2", data=str(few / "sst2"), columns=("sentence",), labels=("negative", "positive")
    )
    loaded = FoundTask(settings, Running(runs=runs)).load()
    logits = SoftLabels.open(_only(tmp_path / "dev", "label")["folder"]).logits
    assert logits.shape == (ROWS, 2)
    accuracy = float(np.mean(logits.argmax(axis=1) == loaded.validation.labels))
    # Its README says 0.9 on all of dev; 200 rows have a standard error of 0.02.
    assert 0.84 < accuracy < 0.97

    transfer = ("--transfer.sources", "task", f"{few / 'movies.jsonl'},column=line")
    start = ("--start.weights", encoder["folder"])
    tuning = ("--tuning.epochs", 1, "--tuning.max-length", 64)
    ran = run_here(
        capfd, "distill", "--teacher", teacher, *start, *task, *names, *transfer, *tuning, *running
    )
    assert ran.status == 0, ran.err
    student = _only(runs, "distill")
    assert _only(runs, "label")["rows"] == student["train_rows"] == 2 * ROWS
    assert student["validation_rows"] == ROWS
    assert 0.3 < student["validation"]["accuracy"] < 0.9
    # An ordinary folder, which names its classes.
    classify = pipeline(
        "text-classification",
        str(student["folder"]),
        tokenizer=AutoTokenizer.from_pretrained(student["folder"]),
    )
    assert classify("a gorgeous, witty, seductive movie.")[0]["label"] in ("negative", "positive")
