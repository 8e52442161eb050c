"""A labelling pass over words beside `pipeline("token-classification")`: rows of unlike length, same tags.

  python -m benchmarks --only tagging

Teacher: random weights. Both sides start from text whose words are parted by blanks.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import Figure, compared
from benchmarks.sst2 import in_turns, rows, tokenizer

NAME = "tagging"
_BATCH = 32
_ROUNDS = 3
_TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def run(rounds: int, quick: bool) -> list[Figure]:
    """Labels the same words by both ways in turn."""
    from transformers import pipeline

    from wellread_hf.labelling.classifier_labeller import ClassifierLabeller
    from wellread_hf.labelling.label_rows import label_rows
    from wellread_hf.labelling.soft_labels import SoftLabels
    from wellread_hf.models.encode import row_encoder
    from wellread_hf.models.load import new_classifier
    from wellread_hf.settings import Label
    from wellread_hf.store.progress import quiet
    from wellread_hf.students import Student

    student, count = ("2-128", 96) if quick else ("4-256", 1024)
    # Letters and digits alone, so that both sides cut words alike.
    cut = ([word for word in text.split() if word.isalnum()] for (text,) in rows(count)[0])
    words = [tuple(row or ["the"]) for row in cut]
    plain = [" ".join(row) for row in words]
    teacher: Any = new_classifier(
        Student.parse(student), len(tokenizer()), _TAGS, seed=0, tagging=True
    ).eval()
    encoder = row_encoder(teacher, tokenizer(), 128)
    order = [*range(len(_TAGS))]
    found: dict[str, Any] = {}

    def ours(only: int = count) -> float:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            with quiet():
                labeller = ClassifierLabeller(teacher, encoder, order, Label())
                label_rows(labeller, words[:only], Label().shard_rows, Path(folder))
            found["ours"] = SoftLabels.open(Path(folder)).logits
            return time.perf_counter() - started

    piped = pipeline("token-classification", teacher, tokenizer=tokenizer(), device="cpu", ignore_labels=[])

    def theirs(only: int = count) -> float:
        started = time.perf_counter()
        found["theirs"] = piped(plain[:only], batch_size=_BATCH)
        return time.perf_counter() - started

    sides = {"ours": ours, "pipeline": theirs}
    for side in sides.values():
        side(_BATCH)
    seconds = in_turns(sides, min(rounds, _ROUNDS))
    difference = _largest_difference(found["ours"], found["theirs"], plain)
    assert difference < 1e-4, f"probabilities of ours and the pipeline differ by {difference}"
    return [
        Figure(
            benchmark=NAME,
            case=f"{student}, words, against a pipeline",
            ours="label, sorted by length",
            theirs='pipeline("token-classification", batch_size=32)',
            unit="ms a row",
            ours_values=tuple(1000 * value / count for value in seconds["ours"]),
            theirs_values=tuple(1000 * value / count for value in seconds["pipeline"]),
            ratios=compared(seconds["ours"], seconds["pipeline"], "lower"),
            target=None if quick else 2.0,
            better="lower",
            same=f"probabilities of tags differ by {difference:.0e} at most",
            note=f"{count} rows, {len(found['ours'].values):,} words",
        )
    ]


def _largest_difference(ours: Any, theirs: Any, texts: list[str]) -> float:
    """Compares the probability of each word's tag with that of its first piece in the pipeline's answer."""
    from scipy.special import softmax

    largest = 0.0
    for row, (answers, text) in enumerate(zip(theirs, texts, strict=True)):
        first = {answer["start"]: answer for answer in answers}
        start = 0
        for word, said in zip(text.split(" "), softmax(ours[row], axis=-1), strict=True):
            answer = first.get(start)
            # Beyond 128 tokens neither side has an answer.
            if answer is not None and not np.isnan(said[0]):
                largest = max(
                    largest, abs(float(said[_TAGS.index(answer["entity"])]) - float(answer["score"]))
                )
            start += len(word) + 1
    return largest
