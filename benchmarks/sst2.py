"""What the benchmarks of classifiers share: rows as long as SST-2's, models of any size, a clock of steps.

By default the rows are random words, as many as SST-2's rows have tokens. Environment variables put the real
thing in their place: SST2 (a file, or a folder in the layout of nyu-mll/glue) and TOKENIZER (a folder).
"""

import os
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.models.encode import EncodedRows, RowEncoder, encode
from wellread_hf.models.plain_text import PlainText
from wellread_hf.store.progress import quiet
from wellread_hf.students import VOCABULARY, Student

# How many of SST-2's 67,349 training rows (nyu-mll/glue, sst2) have 3, 4, ... 66 tokens of bert-base-uncased,
# [CLS] and [SEP] among them.
ROWS_OF_LENGTH = (
    1978, 5322, 6065, 5345, 4749, 4155, 3713, 3267, 2947, 2650, 2413, 2138, 1950, 1777, 1661, 1515,
    1373, 1285, 1132, 1106, 1046, 909, 820, 806, 733, 692, 628, 538, 491, 442, 448, 400, 337, 304, 286,
    242, 195, 203, 192, 155, 148, 130, 89, 82, 85, 73, 55, 42, 50, 40, 36, 19, 21, 22, 15, 8, 6, 3, 2,
    5, 5, 1, 2, 2,
)  # fmt: skip
_SHORTEST = 3
LABELS = ("negative", "positive")

Texts = list[tuple[str, ...]]


@cache
def tokenizer() -> Any:
    """Returns the tokenizer of TOKENIZER, or one of as many words as BERT's, each a token."""
    if "TOKENIZER" in os.environ:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(os.environ["TOKENIZER"])
    from transformers import BertTokenizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = special + [f"w{number}" for number in range(VOCABULARY - len(special))]
    return BertTokenizer(vocab={word: number for number, word in enumerate(words)})


def rows(count: int) -> tuple[Texts, npt.NDArray[np.int64]]:
    """Returns texts and labels: the first of SST2, or random ones of SST-2's lengths."""
    if "SST2" in os.environ:
        return _real(count)
    draw = np.random.default_rng(0)
    shares = np.array(ROWS_OF_LENGTH) / sum(ROWS_OF_LENGTH)
    # Without [CLS] and [SEP], which the tokenizer adds.
    lengths = draw.choice(np.arange(len(shares)) + _SHORTEST, count, p=shares) - 2
    texts = [
        (" ".join(f"w{number}" for number in draw.integers(0, VOCABULARY - 5, length)),) for length in lengths
    ]
    return texts, draw.integers(0, 2, count)


def _real(count: int) -> tuple[Texts, npt.NDArray[np.int64]]:
    from wellread_hf.data.draws import draw_rows
    from wellread_hf.data.rows import load_task
    from wellread_hf.settings import Task
    from wellread_hf.store.places import Location

    task = Task(name="sst2", data=os.environ["SST2"], train_rows=count)
    place = Location(name=str(task.data), revision=None, fingerprint="")
    drawn = draw_rows(load_task(task, [place]).train, task)
    assert drawn.labels is not None
    return drawn.texts, drawn.labels.astype(np.int64)


def encoder() -> RowEncoder:
    """Reads rows as our stages do."""
    words = tokenizer()
    return RowEncoder(words=PlainText(words), max_length=128, pad_id=words.pad_token_id)


def encoded(texts: Texts) -> EncodedRows:
    """Tokenises rows as our stages do."""
    return encode(texts, encoder())


def classifier(student: str, seed: int = 0, dropout: float = 0.1) -> Any:
    """Makes a classifier of random weights, whose logits are some units apart, as those of a trained one."""
    import torch
    from transformers import BertForSequenceClassification

    torch.manual_seed(seed)
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    model = BertForSequenceClassification(
        Student.parse(student).config(id2label=dict(enumerate(LABELS)), **rates)
    )
    with torch.no_grad():
        # At BERT's 0.02 all logits are near 0, and a comparison would see little of what comes before them.
        model.classifier.weight *= 20
    return model


def step_clock() -> Any:
    """Makes a callback whose `seconds` are those from the start of training to the end of its last step."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds = time.perf_counter() - self.started

    return Clock()


def our_training(
    model: Any, data: EncodedRows, targets: Any, epochs: int, order: Any = None, **objective: Any
) -> float:
    """Trains as `training/tuning.py` does, without evaluations; returns seconds.

    Args:
        model: The classifier; changed.
        data: Rows.
        targets: Their labels, or a teacher's logits.
        epochs: Passes over them.
        order: Row at each position of the whole run, where it is not ours.
        **objective: As for `DistillationTrainer`, which is taken where there is a teacher or what it said.
    """
    from wellread_hf.data.order import whole_run
    from wellread_hf.models.encode import PadCollator
    from wellread_hf.settings import Optim, Running
    from wellread_hf.training.arguments import training_arguments
    from wellread_hf.training.callbacks import watch
    from wellread_hf.training.classifier import ClassifierTrainer
    from wellread_hf.training.distillation import DistillationTrainer
    from wellread_hf.training.tuning import TargetRows

    optim = Optim(precision="fp32")
    steps = epochs * len(data) // optim.batch_size
    if order is None:
        order = whole_run(data.lengths, optim.batch_size, steps, 0)
    distils = "teacher_logits" in targets or "teacher" in objective
    clock = step_clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = (DistillationTrainer if distils else ClassifierTrainer)(
            model=model,
            args=training_arguments(Path(folder), optim, Running(), steps, 0, checkpoint_steps=steps + 1),
            train_dataset=TargetRows(data, targets, order),
            data_collator=PadCollator(data.pad_id),
            callbacks=[clock],
            **objective,
        )
        watch(trainer, "benchmark-0", "0", 0.0)
        with quiet():
            trainer.train()
    return float(clock.seconds)


def in_turns(sides: Any, rounds: int) -> dict[str, tuple[float, ...]]:
    """Calls several sides in turn, round after round; returns what each returned, by name.

    Unlike `pairs.in_turn`, several sides share a round, and the caller sees to the warm-up.
    """
    import gc

    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            gc.collect()
            found[name].append(side())
    return {name: tuple(values) for name, values in found.items()}
