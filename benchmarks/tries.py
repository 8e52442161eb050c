"""What was tried to make a step of masked LM faster: our step beside itself with one thing changed.

  python -m benchmarks.tries
  python -m benchmarks.tries --student 4-512 --only compiled bf16

Each try runs in a process of its own, where our step and the changed one take turns on the same batches. A
ratio above 1 says that the change is faster. Writes tries.json; docs/log.md has the results.
"""

import argparse
import ctypes
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.linear_cross_entropy_options import LinearCrossEntropyOptions
from torch.utils.data import DataLoader

from benchmarks.pairs import in_own_process, in_turn
from benchmarks.report import circumstances
from benchmarks.sides import BATCH, random_blocks, settings, tokenizer
from wellread_hf.data.packing import Blocks
from wellread_hf.models.masked_lm import masked_lm_loss, new_masked_lm, scoring_only
from wellread_hf.store.records import write_atomically
from wellread_hf.students import BERT_DROPOUT, VOCABULARY, Student
from wellread_hf.training.fast_cpu import cheap_dropout, freed_memory_kept, giving_losses
from wellread_hf.training.masking import MlmCollator
from wellread_hf.training.pretraining import RunBlocks

RESULTS = "tries.json"
_STEPS, _BATCHES = 3, 8

Loss = Callable[[Any, Any], Tensor]


class Step:
    """A training step as ours is, with what a try changes.

    Args:
        student: Which of the 24.
        loss: Loss of a model on a batch.
        optimizer: Options of AdamW in place of `fused=True`.
        changed: Changes the model once.
        around: Opened around each turn.
        dropout: Rate of dropout.
        dropping: Opened around each turn with the model: how it drops.
    """

    def __init__(
        self,
        student: Student,
        loss: Loss | None = None,
        optimizer: Any = None,
        changed: Callable[[Any], Any] = lambda model: model,
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
        dropout: float = BERT_DROPOUT,
        dropping: Callable[[Any], AbstractContextManager[Any]] = cheap_dropout,
    ) -> None:
        model = new_masked_lm(student, VOCABULARY, dropout, seed=0).train()
        self.weights = list(model.parameters())
        self.model = changed(model)
        self.loss, self.around, self.dropping = loss or our_loss, around, dropping
        self.optimizer = torch.optim.AdamW(self.weights, lr=1e-4, **(optimizer or {"fused": True}))

    def loss_on(self, batch: Any) -> float:
        """Returns the loss without dropout."""
        self.model.eval()
        with torch.no_grad(), self.around():
            found = float(self.loss(self.model, batch))
        self.model.train()
        return found

    def turn(self, batches: Any) -> float:
        """Trains some steps; returns steps a second."""
        with self.around(), self.dropping(self.model):
            started, done = time.perf_counter(), 0
            for batch in batches:
                self.loss(self.model, batch).backward()
                nn.utils.clip_grad_norm_(self.weights, 1.0)
                self.optimizer.step()
                self.optimizer.zero_grad()
                done += 1
            return done / (time.perf_counter() - started)


def our_loss(model: Any, batch: Any) -> Tensor:
    """Returns the loss as our trainer computes it on a CPU."""
    with scoring_only(model, batch["positions"]), giving_losses(model, batch["labels"]):
        losses: Tensor = model(input_ids=batch["input_ids"]).logits
    return losses.mean()


def plain_loss(model: Any, batch: Any) -> Tensor:
    """Returns it by `F.cross_entropy` of all logits at the masked positions."""
    with scoring_only(model, batch["positions"]):
        return masked_lm_loss(model(input_ids=batch["input_ids"]).logits, batch["labels"]).mean()


def linear_cross_entropy(**options: Any) -> Loss:
    """Returns the loss by torch's chunked head."""

    def loss(model: Any, batch: Any) -> Tensor:
        hidden = model.bert(input_ids=batch["input_ids"]).last_hidden_state
        index = batch["positions"].unsqueeze(-1).expand(-1, -1, hidden.size(-1))
        states = model.cls.predictions.transform(hidden.gather(1, index)).flatten(0, 1)
        head = model.cls.predictions.decoder
        return F.linear_cross_entropy(
            states,
            head.weight,
            batch["labels"].flatten(),
            linear_bias=head.bias,
            options=LinearCrossEntropyOptions(**options),
        )

    return loss


def whole_last_layer(model: Any, batch: Any) -> Tensor:
    """Returns our loss with the last layer computed at all positions."""
    hidden = model.bert(input_ids=batch["input_ids"]).last_hidden_state
    index = batch["positions"].unsqueeze(-1).expand(-1, -1, hidden.size(-1))
    with giving_losses(model, batch["labels"]):
        losses: Tensor = model.cls(hidden.gather(1, index))
    return losses.mean()


def in_bf16(model: Any, batch: Any) -> Tensor:
    """Returns the plain loss under bf16 autocast."""
    with torch.autocast("cpu", torch.bfloat16):
        return plain_loss(model, batch)


def compiled_parts(model: Any) -> Any:
    """Compiles GELU with its product, and each layer norm with its sum, so that inductor fuses them."""
    for layer in model.bert.encoder.layer:
        for part in (layer.intermediate, layer.output, layer.attention.output):
            part.compile()
    return model


def one_gather(model: Any) -> Any:
    """Adds the position and type vectors as one slice instead of two lookups."""
    embeddings = model.bert.embeddings

    def forward(input_ids: Tensor, **_: Any) -> Tensor:
        rest = embeddings.position_embeddings.weight[: input_ids.size(1)]
        rest = rest + embeddings.token_type_embeddings.weight[0]
        summed: Tensor = embeddings.word_embeddings(input_ids) + rest
        states: Tensor = embeddings.dropout(embeddings.LayerNorm(summed))
        return states

    embeddings.forward = forward
    return model


@contextmanager
def _given_back() -> Iterator[None]:
    """Lets glibc hand freed memory back, as it does by itself."""
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(-3, 128 * 1024)
    mallopt(-1, 128 * 1024)
    yield
    mallopt(-3, 2**31 - 1)
    mallopt(-1, 2**31 - 1)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@contextmanager
def _flushed_denormals() -> Iterator[None]:
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


# What a try changes of `Step`, or of where the batches come from.
TRIES: dict[str, dict[str, Any]] = {
    "AdamW, foreach": {"optimizer": {"foreach": True}},
    "AdamW, a loop": {"optimizer": {"foreach": False}},
    "plain cross-entropy": {"loss": plain_loss},
    "linear_cross_entropy, its chunks": {"loss": linear_cross_entropy()},
    "linear_cross_entropy, chunks of 128": {
        "loss": linear_cross_entropy(chunking_method=None, batch_chunk_size=128)
    },
    "linear_cross_entropy, one chunk": {"loss": linear_cross_entropy(chunking_method=None)},
    "last layer at all positions": {"loss": whole_last_layer},
    "freed memory given back": {"around": _given_back},
    # Inductor draws for dropout in its own kernels.
    "step compiled": {"loss": plain_loss, "changed": torch.compile, "dropping": nullcontext},
    "GELU and layer norm compiled": {"changed": compiled_parts, "dropping": nullcontext},
    "torch's dropout": {"dropping": nullcontext},
    "no dropout": {"dropout": 0.0},
    "one gather of embeddings": {"changed": one_gather},
    "without oneDNN": {"around": lambda: torch.backends.mkldnn.flags(enabled=False)},
    "denormals flushed": {"around": _flushed_denormals},
    "one thread": {"around": lambda: _threads(1)},
    "bf16 autocast": {"loss": in_bf16},
    "one worker prepares batches": {"workers": 1},
    "no preparing of batches at all": {"workers": None},
}


@freed_memory_kept()
def tried(name: str, student: Student, rounds: int) -> dict[str, Any]:
    """Measures one try; returns steps a second of both, the seconds of its first step, and its loss."""
    change = dict(TRIES[name])
    workers = change.pop("workers", 0)
    ours, other = Step(student), Step(student, **change)
    ready = list(_batches(0, _BATCHES))
    differ = abs(ours.loss_on(ready[0]) - other.loss_on(ready[0]))
    started = time.perf_counter()
    other.turn(ready[:1])
    first = time.perf_counter() - started
    if "workers" in TRIES[name]:
        # Both read and mask while they train; the other has a worker for it, or has it done before.
        mine, theirs = in_turn(
            lambda: ours.turn(_batches(0, _STEPS)),
            lambda: other.turn(ready[:_STEPS] if workers is None else _batches(workers, _STEPS)),
            rounds,
        )
    else:
        mine, theirs = in_turn(lambda: ours.turn(ready[:_STEPS]), lambda: other.turn(ready[:_STEPS]), rounds)
    return {
        "ours, steps/s": mine,
        "changed, steps/s": theirs,
        "ratios": [changed / plain for plain, changed in zip(mine, theirs, strict=True)],
        "first step, s": first,
        "losses differ by": differ,
    }


def _batches(workers: int, count: int) -> Iterator[Any]:
    data = RunBlocks([Blocks(random_blocks(count * BATCH * 4))], [count], BATCH, seed=0)
    collator = MlmCollator(tokenizer(), settings().mask_share)
    return iter(DataLoader(data, batch_size=BATCH, collate_fn=collator, num_workers=workers))


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line, measures, prints and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--student", default="2-128")
    parser.add_argument("--only", nargs="+", default=list(TRIES), metavar="WORD", help="parts of names")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help=f"folder of {RESULTS}")
    given = parser.parse_args(arguments)
    student = Student.parse(given.student)
    path = given.out / RESULTS
    results: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    for name in TRIES:
        if not any(word in name for word in given.only):
            continue
        found = in_own_process(tried, name, student, given.rounds)
        ratios = found["ratios"]
        print(
            f"{name}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
            f"first step {found['first step, s']:.1f} s, losses differ by {found['losses differ by']:.0e}",
            flush=True,
        )
        about = circumstances(given.rounds, f"python -m benchmarks.tries --student {given.student}")
        results.setdefault(student.name, {})[name] = about | found
        write_atomically(path, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
