"""Which rows of a pool to label: each way to choose beside a random draw of as many, with PD on SST-2.

  python -m benchmarks.selection --pool LABEL-FOLDER --student STUDENT-FOLDER --teacher TEACHER-FOLDER \\
      --data DATA --sources task DATA/movie_sentences,column=sentence,rows=80000 --of 40000

The pool was labelled whole before, by the same teacher (`wellread label`), so a run trains and no more. Run
`seed` draws, chooses and trains with that seed; ways of one seed share what is random in them. Scores are
accuracies in percent on SST-2's dev set, and on training rows that are not in the pool, with their true
labels. Each run is kept in selection.json, and one that is there is not made again.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.report import circumstances
from wellread_hf.labelling.soft_labels import SoftLabels
from wellread_hf.models.encode import EncodedRows, RowEncoder, encode, row_encoder
from wellread_hf.models.infer import logits_in_order
from wellread_hf.models.load import load_classifier, load_masked_lm, load_tokenizer
from wellread_hf.settings import Objective, Optim, Running, Task, Transfer, Tuning
from wellread_hf.stages.inputs import FoundTask
from wellread_hf.stages.transfer_set import TransferSet
from wellread_hf.store.places import locate
from wellread_hf.store.progress import quiet
from wellread_hf.store.records import write_atomically
from wellread_hf.training.tuning import tune

RESULTS = "selection.json"
_MAX_LENGTH, _OTHERS = 64, 10_000
# TinyBERT's: a word is replaced with this probability, by one of so many predictions.
_REPLACED, _CANDIDATES = 0.4, 15

Index = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float32]
Texts = list[tuple[str, ...]]


@dataclass(frozen=True)
class Pool:
    """The pool, what the teacher says of it, and what students are scored on."""

    given: Any

    @cached_property
    def task(self) -> Any:
        """SST-2."""
        return FoundTask(Task(name="sst2", data=self.given.data), Running()).load()

    @cached_property
    def texts(self) -> Texts:
        """Those of the pool, in its order."""
        transfer = Transfer(sources=tuple(self.given.sources), rows=self.given.of, guard=False)
        texts: Texts = TransferSet(transfer, Running()).rows(self.task).texts
        return texts

    @cached_property
    def logits(self) -> Numbers:
        """The teacher's [rows, 2]."""
        store = SoftLabels.open(self.given.pool)
        store.check_belongs(self.texts)
        return store.logits

    @cached_property
    def others(self) -> tuple[Texts, Index]:
        """Training rows of the task whose text is not in the pool, and their labels."""
        seen = set(self.texts)
        rows = self.task.train
        left = [row for row, text in enumerate(rows.texts) if text not in seen]
        drawn = np.sort(np.random.default_rng(0).permutation(left)[:_OTHERS])
        return [rows.texts[row] for row in drawn], rows.labels[drawn]

    @cached_property
    def student(self) -> Any:
        """Where the student lies."""
        return locate(str(self.given.student), "model", "student")

    @cached_property
    def encoder(self) -> RowEncoder:
        """How the student reads rows."""
        return row_encoder(self.fresh(0), load_tokenizer(self.student), _MAX_LENGTH)

    def fresh(self, seed: int) -> Any:
        """Returns the pre-trained student with a head of a seed."""
        return load_classifier(self.student, self.task.facts.labels, seed)

    @cached_property
    def encoded(self) -> EncodedRows:
        """The pool's rows as the student reads them."""
        return encode(self.texts, self.encoder)

    def distilled(self, encoded: EncodedRows, logits: Numbers, seed: int) -> tuple[Any, float]:
        """Distils a student; returns it with its accuracy on the dev set."""
        dev = self.task.validation
        student = self.fresh(seed)
        with tempfile.TemporaryDirectory() as folder, quiet():
            found = tune(
                student,
                (encoded, {"teacher_logits": logits}),
                (encode(dev.texts, self.encoder), {"labels": dev.labels}),
                self.task.facts.metrics,
                Tuning(
                    epochs=self.given.epochs,
                    # The last weights, not the best of several evaluations on the rows that are reported.
                    evaluations=1,
                    max_length=_MAX_LENGTH,
                    optim=Optim(learning_rate=5e-4, precision="fp32"),
                    seed=seed,
                ),
                Objective(),
                Running(),
                Path(folder),
                "selection",
            )
        return student, 100 * found["validation"]["accuracy"]

    def on_rows(self, rows: Index, seed: int) -> tuple[Any, float]:
        """Distils a student from some rows of the pool."""
        return self.distilled(_some(self.encoded, rows), self.logits[rows], seed)

    def accuracy_on_others(self, student: Any) -> float:
        """Returns a student's accuracy on `others`."""
        texts, labels = self.others
        found = logits_in_order(student, encode(texts, self.encoder))
        return 100 * float((found.argmax(axis=1) == labels).mean())


def _some(encoded: EncodedRows, rows: Index) -> EncodedRows:
    """Returns some of the rows."""
    starts, ends = encoded.offsets[rows], encoded.offsets[rows + 1]
    ids = np.concatenate([encoded.ids[start:end] for start, end in zip(starts, ends, strict=True)])
    offsets = np.concatenate([[0], np.cumsum(ends - starts)])
    return EncodedRows(ids, None, offsets, encoded.pad_id, encoded.pad_left, 0, 0)


def drawn(pool: Pool, seed: int) -> Index:
    """Returns all rows of the pool in the order in which they are drawn."""
    return np.random.default_rng(seed).permutation(len(pool.texts))


def at_random(pool: Pool, count: int, seed: int) -> Index:
    """Chooses as `transfer.select` does."""
    return drawn(pool, seed)[:count]


def deduplicated(threshold: float) -> Callable[[Pool, int, int], Index]:
    """Draws from the rows that are left once each near duplicate of an earlier row is dropped."""

    def choose(pool: Pool, count: int, seed: int) -> Index:
        order = drawn(pool, seed)
        return order[first_of_near(pool.texts, threshold)[order]][:count]

    return choose


def first_of_near(texts: Texts, threshold: float) -> npt.NDArray[np.bool_]:
    """Returns which rows [n] are no near duplicate of an earlier one that was kept."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=threshold, num_perm=64)
    kept = np.zeros(len(texts), dtype=np.bool_)
    sets = [[part.encode() for part in _parts(" ".join(text))] for text in texts]
    for row, sketch in enumerate(MinHash.generator(sets, num_perm=64, seed=1)):
        near = index.query(sketch)
        if not near:
            kept[row] = True
            index.insert(row, sketch, check_duplication=False)
    return kept


def _parts(text: str) -> set[str]:
    words = text.lower().split()
    return {*words, *map(" ".join, pairwise(words))}


def balanced(pool: Pool, count: int, seed: int) -> Index:
    """Takes the first rows drawn of each of the teacher's classes, as many of one as of another."""
    order = drawn(pool, seed)
    classes = pool.logits.argmax(axis=1)[order]
    each = [order[classes == number][: count // 2] for number in range(2)]
    return np.concatenate(each)


def uncertain(rounds: int) -> Callable[[Pool, int, int], Index]:
    """Chooses in rounds: the first at random, others where the student of those before is least sure."""

    def choose(pool: Pool, count: int, seed: int) -> Index:
        chosen = drawn(pool, seed)[: count // rounds]
        for number in range(2, rounds + 1):
            student, _ = pool.on_rows(chosen, seed)
            found = np.abs(np.diff(logits_in_order(student, pool.encoded), axis=1)[:, 0])
            # Chosen ones come last.
            found[chosen] = np.inf
            more = count * number // rounds - len(chosen)
            chosen = np.concatenate([chosen, np.argsort(found, kind="stable")[:more]])
        return chosen

    return choose


WAYS: dict[str, Callable[[Pool, int, int], Index]] = {
    "random": at_random,
    "deduplicated at 0.7": deduplicated(0.7),
    "deduplicated at 0.5": deduplicated(0.5),
    "balanced": balanced,
    "uncertain in 2 rounds": uncertain(2),
    "uncertain in 4 rounds": uncertain(4),
}


def run(pool: Pool, way: str, count: int, seed: int) -> dict[str, float]:
    """Chooses rows, trains a student on them and scores it."""
    if way.startswith("augmented"):
        student, dev = augmented(pool, count, seed, more=way.endswith("more"))
    else:
        student, dev = pool.on_rows(WAYS[way](pool, count, seed), seed)
    return {"dev": dev, "others": pool.accuracy_on_others(student)}


def augmented(pool: Pool, count: int, seed: int, more: bool) -> tuple[Any, float]:
    """Distils from drawn rows and a copy of each with other words.

    Args:
        pool: The pool.
        count: Rows that the teacher labels.
        seed: Of draw, words and training.
        more: `count` rows are drawn, and their copies are labelled as well; else half of `count`.
    """
    rows = drawn(pool, seed)[: count if more else count // 2]
    copies = with_other_words([pool.texts[row] for row in rows], pool.student, seed)
    teacher_at = locate(str(pool.given.teacher), "model", "teacher")
    teacher = load_classifier(teacher_at)
    labels = logits_in_order(
        teacher, encode(copies, row_encoder(teacher, load_tokenizer(teacher_at), _MAX_LENGTH))
    )
    texts = [*(pool.texts[row] for row in rows), *copies]
    return pool.distilled(encode(texts, pool.encoder), np.concatenate([pool.logits[rows], labels]), seed)


def with_other_words(texts: Texts, model_at: Any, seed: int) -> Texts:
    """Returns each text with some words replaced by what a masked LM says there, as TinyBERT has it."""
    import torch

    tokenizer, model = load_tokenizer(model_at), load_masked_lm(model_at).eval()
    random = np.random.default_rng(seed)
    found = []
    for (text,) in texts:
        words = text.split()
        pieces = [tokenizer.encode(word, add_special_tokens=False) for word in words]
        ids = [tokenizer.cls_token_id, *(piece for each in pieces for piece in each), tokenizer.sep_token_id]
        starts = 1 + np.cumsum([0, *map(len, pieces[:-1])])
        places = [
            number
            for number, each in enumerate(pieces)
            if len(each) == 1 and words[number].isalpha() and random.random() < _REPLACED
        ]
        if places:
            batch = torch.tensor([ids] * len(places))[:, :_MAX_LENGTH]
            places = [number for number in places if starts[number] < _MAX_LENGTH]
            batch = batch[: len(places)]
            where = torch.tensor([int(starts[number]) for number in places])
            batch[torch.arange(len(places)), where] = tokenizer.mask_token_id
            with torch.inference_mode():
                logits = model(input_ids=batch).logits[torch.arange(len(places)), where]
            best = logits.topk(_CANDIDATES).indices.tolist()
            for number, candidates in zip(places, best, strict=True):
                words[number] = tokenizer.convert_ids_to_tokens(int(random.choice(candidates)))
        found.append((" ".join(words),))
    return found


def table(found: dict[str, dict[str, float]], counts: Sequence[int], ways: Sequence[str]) -> str:
    """Returns a line a way: means, spreads and differences from a random draw of the same seeds."""
    lines = [
        "| labels | way | dev | beside random | other rows | beside random |",
        "|---|---|---|---|---|---|",
    ]
    for count in counts:
        for way in ways:
            mine = {
                key.rpartition(" ")[2]: runs
                for key, runs in found.items()
                if key.startswith(f"{count} {way} ")
            }
            cells = []
            for name in ("dev", "others"):
                values = [runs[name] for runs in mine.values()]
                pairs = [
                    runs[name] - found[f"{count} random {seed}"][name]
                    for seed, runs in mine.items()
                    if f"{count} random {seed}" in found
                ]
                cells += [_spread(values, ""), "" if way == "random" else _spread(pairs, "+")]
            lines.append(f"| {count:,} | {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: Sequence[float], sign: str) -> str:
    if not values:
        return ""
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):{sign}.1f}{spread} ({len(values)})"


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line, makes the runs that are missing and prints the table."""
    ways = [*WAYS, "augmented", "augmented more"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pool", type=Path, required=True, help="folder of the pool's soft labels")
    parser.add_argument("--student", type=Path, required=True, help="a pre-trained student")
    parser.add_argument("--teacher", type=Path, required=True, help="who labelled, and labels copies")
    parser.add_argument("--data", required=True, help="folder of GLUE")
    parser.add_argument("--sources", nargs="+", required=True, help="sources of the pool")
    parser.add_argument("--of", type=int, required=True, help="rows that are drawn from them: the pool")
    parser.add_argument("--rows", type=int, nargs="+", default=[4_000], help="rows that are labelled")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--ways", nargs="+", choices=ways, default=ways, metavar="WAY")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of the results")
    given = parser.parse_args(arguments)
    path = given.out / RESULTS
    kept = json.loads(path.read_text()) if path.is_file() else {"runs": {}}
    pool = Pool(given)
    for count in given.rows:
        for seed in given.seeds:
            for way in given.ways:
                key = f"{count} {way} {seed}"
                if key not in kept["runs"]:
                    kept["runs"][key] = run(pool, way, count, seed)
                    print(key, kept["runs"][key], flush=True)
                    kept |= circumstances(1, "python -m benchmarks.selection")
                    write_atomically(path, json.dumps(kept, indent=1) + "\n")
    print(table(kept["runs"], given.rows, given.ways))


if __name__ == "__main__":
    main()
