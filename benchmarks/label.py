"""A teacher's labelling pass beside what is usually written: a pipeline, and a padded loop in file order.

  python -m benchmarks --only label

Teacher: 12-768, random weights. Rows: benchmarks/sst2.py. Both sides start from text.
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.figures import Figure, compared
from benchmarks.sst2 import classifier, encoder, in_turns, rows, tokenizer

NAME = "label"
_BATCH = 32
# A round takes minutes: fewer rows would be quicker, but rows of one length are what sorting lives on.
_ROUNDS = 3


def run(rounds: int, quick: bool) -> list[Figure]:
    """Labels the same rows by all three ways in turn."""
    import torch
    from transformers import pipeline

    from wellread_hf.labelling.classifier_labeller import ClassifierLabeller
    from wellread_hf.labelling.label_rows import label_rows
    from wellread_hf.labelling.soft_labels import SoftLabels
    from wellread_hf.settings import Label
    from wellread_hf.store.progress import quiet

    student, count = ("2-128", 96) if quick else ("12-768", 1024)
    texts, _ = rows(count)
    teacher = classifier(student).eval()
    plain = [text for (text,) in texts]
    found: dict[str, npt.NDArray[np.float32]] = {}

    def ours(only: int = count) -> float:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            with quiet():
                label_rows(
                    ClassifierLabeller(teacher, encoder(), [0, 1], Label()),
                    texts[:only],
                    Label().shard_rows,
                    Path(folder),
                )
            found["ours"] = SoftLabels.open(Path(folder)).logits
            return time.perf_counter() - started

    piped = pipeline("text-classification", teacher, tokenizer=tokenizer(), device="cpu")

    def by_pipeline(only: int = count) -> float:
        started = time.perf_counter()
        answers = piped(plain[:only], batch_size=_BATCH, top_k=None, function_to_apply="none")
        scored = [{answer["label"]: answer["score"] for answer in row} for row in answers]
        found["pipeline"] = np.array([[row["negative"], row["positive"]] for row in scored], dtype=np.float32)
        return time.perf_counter() - started

    @torch.inference_mode()
    def by_loop(only: int = count) -> float:
        started = time.perf_counter()
        parts = []
        for start in range(0, only, _BATCH):
            batch = tokenizer()(
                plain[start : min(only, start + _BATCH)],
                padding=True,
                truncation=True,
                max_length=128,
                return_tensors="pt",
            )
            parts.append(teacher(**batch).logits.numpy())
        found["loop"] = np.concatenate(parts)
        return time.perf_counter() - started

    sides = {"ours": ours, "pipeline": by_pipeline, "loop": by_loop}
    for side in sides.values():
        side(_BATCH)
    seconds = in_turns(sides, min(rounds, _ROUNDS))
    figures = []
    for name, theirs, target in (
        ("pipeline", 'pipeline("text-classification", batch_size=32)', 2.0),
        ("loop", "batches of 32 in file order, padded", 2.5),
    ):
        difference = float(np.abs(found["ours"] - found[name]).max())
        assert difference < 1e-4, f"logits of ours and the {name} differ by {difference}"
        figures.append(
            Figure(
                benchmark=NAME,
                case=f"{student}, against a {name}",
                ours="label, sorted by length",
                theirs=theirs,
                unit="ms a row",
                ours_values=tuple(1000 * value / count for value in seconds["ours"]),
                theirs_values=tuple(1000 * value / count for value in seconds[name]),
                ratios=compared(seconds["ours"], seconds[name], "lower"),
                target=None if quick else target,
                better="lower",
                same=f"logits differ by {difference:.0e} at most",
                note=f"{count} rows of {'SST-2' if 'SST2' in os.environ else 'its lengths'}",
            )
        )
    return figures
