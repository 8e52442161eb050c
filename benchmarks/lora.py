"""What LoRA saves in time, memory and disk: rank 8 against all weights, for a 12-layer, 768-wide teacher.

Random weights of BERT-base's size, batches of random words: neither changes what a step costs. Steps of
both ways are timed in turn in one process. Memory is measured around `tune`, as recipes/teacher.py runs it,
each way in a process of its own: the largest resident size less what was there before training. So is the
checkpoint that it writes.

  OMP_NUM_THREADS=1 python -m benchmarks.lora --rounds 5
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

WAYS = ("all weights", "LoRA")
WORDS, LENGTH, STEPS = 30_522, 32, 2


def make_model(way: str, student: str, rank: int) -> Any:
    """Builds a teacher with random weights, with LoRA where it is that way."""
    from wellread_hf.models.load import new_classifier
    from wellread_hf.models.lora import add_lora
    from wellread_hf.settings import Lora
    from wellread_hf.students import Student

    model = new_classifier(Student.parse(student), WORDS, ("no", "yes"), seed=0)
    return model if way == "all weights" else add_lora(model, Lora(lora_rank=rank), seed=0)


def steps_in_turn(student: str, rank: int, batch: int, rounds: int) -> dict[str, list[float]]:
    """Times optimizer steps of both ways in turn, after one of each that is not counted; seconds."""
    import torch

    torch.manual_seed(0)
    ids = torch.randint(1_000, WORDS, (batch, LENGTH))
    labels = torch.randint(0, 2, (batch,))
    trained = {}
    for way in WAYS:
        model = make_model(way, student, rank).train()
        weights = [part for part in model.parameters() if part.requires_grad]
        trained[way] = model, weights, torch.optim.AdamW(weights, lr=1e-4)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):
        for way in WAYS if number % 2 == 0 else WAYS[::-1]:
            model, weights, optimizer = trained[way]
            started = time.monotonic()
            loss = torch.nn.functional.cross_entropy(model(input_ids=ids).logits, labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if number:
                seconds[way].append(time.monotonic() - started)
    return seconds


def train(way: str, student: str, rank: int, batch: int, folder: Path) -> dict[str, float]:
    """Trains for a few steps with one checkpoint; returns memory of training and size on disk, in MB."""
    from wellread_hf.models.encode import EncodedRows
    from wellread_hf.settings import Optim, Running, Tuning
    from wellread_hf.training.tuning import tune

    count = batch * STEPS
    draw = np.random.default_rng(0)
    rows = EncodedRows(
        ids=draw.integers(1_000, WORDS, size=count * LENGTH).astype(np.int32),
        segments=None,
        offsets=np.arange(count + 1, dtype=np.int64) * LENGTH,
        pad_id=0,
    )
    targets = {"labels": draw.integers(0, 2, size=count)}
    model = make_model(way, student, rank)
    # What making the weights took and gave back is not training's.
    before = resident()
    settings = Tuning(epochs=1, evaluations=1, optim=Optim(learning_rate=1e-4, batch_size=batch))
    tune(model, (rows, targets), (rows, targets), ("accuracy",), settings, None, Running(), folder, "run")
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (checkpoint,) = (folder / "checkpoints").iterdir()
    return {
        "memory of training, MB": largest - before,
        "largest memory, MB": largest,
        "checkpoint, MB": sum(file.stat().st_size for file in checkpoint.iterdir()) / 1e6,
        "trained weights, millions": sum(w.numel() for w in model.parameters() if w.requires_grad) / 1e6,
    }


def resident() -> float:
    """Returns the process's resident memory in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measured(way: str, given: argparse.Namespace) -> dict[str, float]:
    """Runs `train` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--way", way, "--folder", folder, "--student", given.student]
        options += ["--rank", str(given.rank), "--batch", str(given.batch)]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.lora", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found


def spread(values: list[float]) -> dict[str, float]:
    """Returns median, minimum and maximum."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 2) for name, value in found.items()}


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--student", default="12-768", help="size of the teacher, one of the 24")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--batch", type=int, default=16, help=f"rows of {LENGTH} tokens in a step")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(train(given.way, given.student, given.rank, given.batch, given.folder)))
        return
    sizes = {way: measured(way, given) for way in WAYS}
    seconds = steps_in_turn(given.student, given.rank, given.batch, given.rounds)
    ratios = [slow / fast for slow, fast in zip(*seconds.values(), strict=True)]
    result = {
        "seconds a step": {way: spread(found) for way, found in seconds.items()},
        "all weights / LoRA, seconds a step": spread(ratios),
        **{way: {name: round(value, 1) for name, value in found.items()} for way, found in sizes.items()},
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
