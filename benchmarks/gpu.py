"""Masked-LM steps on one GPU: ours beside stock, for the 24 students, with no network and no data.

  python -m benchmarks.gpu
  python -m benchmarks.gpu --students 2-128 12-768 --blocks 64

Each student trains in turn in several ways on random blocks of 128 that lie on the device, in bf16 with
fused AdamW: stock (`BertForMaskedLM` scoring every position), ours (the masked positions only), ours as one
CUDA graph (a step of a small student is mostly launches), and, for `--compiled`, through `torch.compile`.
Prints tokens/s, peak memory and model-FLOPs utilisation, and writes gpu.json to --out. Utilisation is what
our step needs (`training/operations.py`) over the rate of a large bf16 matrix product measured here.
Without a GPU it runs on the CPU, to see that it works.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.report import circumstances
from benchmarks.sides import LENGTH, random_blocks, tokenizer
from wellread_hf.models.masked_lm import masked_lm_loss, new_masked_lm, scoring_only
from wellread_hf.results.tables import Table
from wellread_hf.store.records import write_atomically
from wellread_hf.students import BERT_DROPOUT, STUDENTS, VOCABULARY, Student
from wellread_hf.training.masking import MlmCollator
from wellread_hf.training.operations import masked_lm_products, operations

RESULTS = "gpu.json"
_ROUNDS = 3
# Of one way in one round, and the steps before the first: allocators, autotuning, graphs settle.
_SECONDS, _WARM_UP = 0.5, 3
_BATCHES = 4
_LARGE_PRODUCT = 8192

Batch = Mapping[str, Tensor]


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line, measures, prints and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--students", nargs="+", default=[student.name for student in STUDENTS])
    parser.add_argument(
        "--compiled", nargs="*", default=["2-128", "12-768"], help="students tried with torch.compile"
    )
    parser.add_argument("--blocks", type=int, default=128, help="blocks of 128 tokens a step")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="of one way in one round")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help=f"folder of {RESULTS}")
    given = parser.parse_args(arguments)
    device = torch.device(given.device)
    started = time.monotonic()
    peak = matrix_rate(device)
    compiled = [Student.parse(name) for name in given.compiled]
    rows = []
    for student in map(Student.parse, given.students):
        rows += measure(student, given.blocks, device, given.seconds, student in compiled, peak)
        gc.collect()
        torch.compiler.reset()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    command = f"python -m benchmarks.gpu --blocks {given.blocks} --students {' '.join(given.students)}"
    found = circumstances(_ROUNDS, command) | {"device": name, "bf16 matrix rate, TFLOP/s": peak / 1e12}
    write_atomically(given.out / RESULTS, json.dumps(found | {"rows": rows}, indent=1) + "\n")
    show(rows, f"{name}, bf16, {given.blocks} blocks of {LENGTH}, {time.monotonic() - started:.0f} s")


def measure(
    student: Student, blocks: int, device: torch.device, seconds: float, compiled: bool, peak: float
) -> list[dict[str, Any]]:
    """Trains one student in all ways in turn; returns a row a way.

    Raises:
        SystemExit: The losses of two ways differ on one batch in fp32.
    """
    batches = prepared(blocks, device)
    differ = abs(
        _loss_once(student, batches[0], device, True) - _loss_once(student, batches[0], device, False)
    )
    if not differ < 1e-4:
        raise SystemExit(f"{student}: losses of ours and stock differ by {differ} on the same batch")
    ways = {"stock": (False, "eager"), "ours": (True, "eager")}
    if device.type == "cuda":
        ways["ours, CUDA graph"] = (True, "graph")
    if compiled:
        ways["ours, compiled"] = (True, "compiled")
    per_token = operations(masked_lm_products(student.shape, blocks, LENGTH)) / (blocks * LENGTH)
    values: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    with ExitStack() as opened:
        sides = {}
        for way, (ours, how) in ways.items():
            before = _memory(device)
            sides[way] = Side(student, batches, device, ours, how, opened)
            for _ in range(_WARM_UP):
                sides[way].step()
            memory[way] = _memory(device, peak=True) - before
        for _ in range(_ROUNDS):
            for way, side in sides.items():
                values.setdefault(way, []).append(
                    blocks * LENGTH * _steps_a_second(side.step, seconds, device)
                )
    return [
        {
            "student": student.name,
            "way": way,
            "tokens/s": values[way],
            "over stock": [mine / stock for mine, stock in zip(values[way], values["stock"], strict=True)],
            "memory, MB": memory[way] / 1e6,
            "utilisation": median(values[way]) * per_token / peak,
            "losses differ by": differ,
        }
        for way in values
    ]


class Side:
    """One way of training a student; `step` is one optimizer step.

    The batch lies in buffers of fixed address, because a CUDA graph reads the same memory at each replay.
    """

    def __init__(
        self,
        student: Student,
        batches: Sequence[Batch],
        device: torch.device,
        ours: bool,
        how: str,
        opened: ExitStack,
    ) -> None:
        self.batches, self.done, self.ours = batches, 0, ours
        self.buffers = {name: value.clone() for name, value in batches[0].items()}
        self.autocast = device.type
        model = new_masked_lm(student, VOCABULARY, BERT_DROPOUT, seed=0).to(device).train()
        self.weights = list(model.parameters())
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=1e-4, fused=True, capturable=device.type == "cuda"
        )
        if ours:
            opened.enter_context(scoring_only(model, self.buffers["positions"]))
        self.model: Any = torch.compile(model) if how == "compiled" else model
        self.train: Callable[[], None] = self._train
        if how == "graph":
            self.train = self._captured()

    def step(self) -> None:
        """Takes the next batch and trains on it."""
        for name, value in self.batches[self.done % len(self.batches)].items():
            self.buffers[name].copy_(value)
        self.done += 1
        self.train()

    def _train(self) -> None:
        self.optimizer.zero_grad()
        # A graph must not see casts that were cached outside it.
        with torch.autocast(self.autocast, torch.bfloat16, cache_enabled=False):
            loss = _loss(self.model, self.buffers, self.ours)
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()

    def _captured(self) -> Callable[[], None]:
        # As PyTorch's notes on CUDA graphs ask for: warm up on a side stream, then capture.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                self._train()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad()
        with torch.cuda.graph(graph):
            self._train()
        return graph.replay


def prepared(blocks: int, device: torch.device) -> list[Batch]:
    """Returns a few masked batches on the device, with labels for both ways of scoring."""
    collator, words = MlmCollator(tokenizer()), random_blocks(blocks * _BATCHES)
    batches = []
    for number in range(_BATCHES):
        rows = range(number * blocks, (number + 1) * blocks)
        batch = collator([{"input_ids": words[row], "epoch": 0, "block": row} for row in rows])
        dense = torch.full_like(batch["input_ids"], -100)
        batch["dense"] = dense.scatter_(1, batch["positions"], batch["labels"])
        batches.append({name: value.to(device) for name, value in batch.items()})
    return batches


def matrix_rate(device: torch.device) -> float:
    """Returns FLOP/s of a large bf16 matrix product: what the device gives, rather than what is printed."""
    size = _LARGE_PRODUCT if device.type == "cuda" else 512
    square = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    return 2.0 * size**3 * _steps_a_second(lambda: torch.mm(square, square), 0.5, device)


def show(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Prints a line a way."""
    lines = []
    for row in rows:
        over = row["over stock"]
        cells = [
            row["student"],
            row["way"],
            f"{median(row['tokens/s']):,.0f}",
            f"{median(over):.2f} ({min(over):.2f} to {max(over):.2f})",
            f"{row['memory, MB']:,.0f}" if row["memory, MB"] else "-",
            f"{row['utilisation']:.1%}",
        ]
        lines.append(cells)
    head = ["student", "way", "tokens/s", "over stock: median (min to max)", "memory, MB", "utilisation"]
    Table(head, lines).show(title)


def _loss(model: Any, batch: Batch, ours: bool) -> Tensor:
    if ours:
        logits = model(input_ids=batch["input_ids"]).logits
        return masked_lm_loss(logits, batch["labels"]).mean()
    loss: Tensor = model(input_ids=batch["input_ids"], labels=batch["dense"]).loss
    return loss


def _loss_once(student: Student, batch: Batch, device: torch.device, ours: bool) -> float:
    model = new_masked_lm(student, VOCABULARY, BERT_DROPOUT, seed=0).to(device).eval()
    with torch.no_grad(), scoring_only(model, batch["positions"]) if ours else nullcontext():
        return float(_loss(model, batch, ours))


def _steps_a_second(step: Callable[[], Any], seconds: float, device: torch.device) -> float:
    step()
    _synchronize(device)
    started, done = time.perf_counter(), 0
    while done == 0 or time.perf_counter() - started < seconds:
        step()
        done += 1
        # Launches run ahead of the device; without this the clock would only see them.
        _synchronize(device)
    return done / (time.perf_counter() - started)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _memory(device: torch.device, peak: bool = False) -> float:
    """Returns bytes allocated on a GPU now, or at most since the last call without `peak`; 0 on a CPU."""
    if device.type != "cuda":
        return 0.0
    if peak:
        return float(torch.cuda.max_memory_allocated(device))
    torch.cuda.reset_peak_memory_stats(device)
    return float(torch.cuda.memory_allocated(device))


if __name__ == "__main__":
    main()
