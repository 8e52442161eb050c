"""Text to packed blocks beside the usual `map(tokenize)` and `map(group_texts)`, and the memory it takes.

  python -m benchmarks --only pack

Random words, or the file of plain text (a text a line) that the environment variable TEXT names, with the
tokenizer of TOKENIZER. Both sides read that file and end with blocks of 128 on disk, in a process of their
own each time, whose start does not count.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, compared
from benchmarks.pairs import Peak, in_own_process, in_turn
from benchmarks.sst2 import tokenizer
from wellread_hf.store.progress import quiet
from wellread_hf.students import VOCABULARY

NAME = "pack"
BLOCK = 128


def write_text(path: Path, megabytes: float) -> None:
    """Writes so much text, a text of about 60 words a line; with TEXT, its first lines, over and over."""
    size = 0
    with path.open("w", encoding="utf-8") as file:
        if "TEXT" in os.environ:
            while size < megabytes * 1e6:
                with open(os.environ["TEXT"], encoding="utf-8") as given:
                    for line in given:
                        size += file.write(line)
                        if size >= megabytes * 1e6:
                            break
            return
        draw = np.random.default_rng(0)
        while size < megabytes * 1e6:
            # Words as frequent as Zipf has them.
            words = np.minimum(draw.zipf(1.2, draw.integers(20, 100)), VOCABULARY - 5) - 1
            size += file.write(" ".join(f"w{number}" for number in words) + "\n")


def ours(path: Path, clock: Callable[[], float] = time.perf_counter) -> tuple[float, float]:
    """Packs a file by our packer; returns seconds and MB of memory on top of what was there before."""
    return _measured(path, _pack_ours, clock)


def stock(path: Path) -> tuple[float, float]:
    """Packs a file as transformers' run_mlm.py does; returns seconds and MB of memory."""
    return _measured(path, _pack_stock, time.perf_counter)


def _measured(path, way, clock) -> tuple[float, float]:
    # Imports, and what the first call sets up, are not packing.
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.txt"
        small.write_text("w1 w2 w3\n" * 500, encoding="utf-8")
        way(small, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        peak, started = Peak(), clock()
        with quiet():
            way(path, Path(folder))
        return clock() - started, peak.megabytes


def _pack_ours(path: Path, folder: Path):
    from wellread_hf.data.files import file_rows
    from wellread_hf.data.packing import Blocks, pack
    from wellread_hf.data.tokens import Tokens, share_out

    shards = share_out(
        lambda: (str(row["text"]) for row in file_rows(path)),
        tokenizer(),
        folder / path.stem,
        is_over=lambda: False,
    )
    return Blocks.open(folder, pack(map(Tokens.read, shards), tokenizer(), BLOCK, 19, folder)).ids


def _pack_stock(path: Path, folder: Path):
    import datasets

    datasets.disable_progress_bars()

    def tokenize(examples):
        return tokenizer()(examples["text"], return_special_tokens_mask=True)

    def group_texts(examples):
        # As in examples/pytorch/language-modeling/run_mlm.py of transformers.
        concatenated = {name: [item for row in rows for item in row] for name, rows in examples.items()}
        total = len(concatenated["input_ids"]) // BLOCK * BLOCK
        return {
            name: [items[start : start + BLOCK] for start in range(0, total, BLOCK)]
            for name, items in concatenated.items()
        }

    table = datasets.load_dataset("text", data_files=str(path), split="train", cache_dir=str(folder))
    table = table.map(tokenize, batched=True, remove_columns=["text"])
    return table.map(group_texts, batched=True)


def same_words(path: Path) -> str:
    """Compares the ordinary tokens of both, one after another; stock drops the end of every 1,000 texts."""
    with tempfile.TemporaryDirectory() as folder:
        special = tokenizer().all_special_ids
        mine = np.asarray(_pack_ours(path, Path(folder))).ravel().astype(np.int64)
        theirs = np.concatenate(_pack_stock(path, Path(folder))["input_ids"])
        mine, theirs = (ids[~np.isin(ids, special)] for ids in (mine, theirs))
    shorter = min(len(mine), len(theirs))
    assert shorter > 0, "nothing was packed"
    assert np.array_equal(mine[:shorter], theirs[:shorter]), "both sides packed different words"
    return f"the first {shorter:,} words are the same"


def run(rounds: int, quick: bool) -> list[Figure]:
    """Packs the same file both ways in turn, and files of one and four times that size."""
    megabytes = 0.5 if quick else 8.0
    with tempfile.TemporaryDirectory() as folder:
        path, small, large = (Path(folder) / f"{name}.txt" for name in ("one", "small", "four"))
        write_text(small, 0.2)
        write_text(path, megabytes)
        write_text(large, 4 * megabytes)
        # Below 1,000 texts stock drops nothing in between.
        lines = small.read_text(encoding="utf-8").splitlines()[:990]
        small.write_text("\n".join(lines), encoding="utf-8")
        same = in_own_process(same_words, small)
        memory: dict[str, list[float]] = {"ours": [], "stock": []}

        def measured(name: str, side) -> float:
            seconds, highest = in_own_process(side, path)
            memory[name].append(highest)
            return path.stat().st_size / 1e6 / seconds

        speeds = in_turn(lambda: measured("ours", ours), lambda: measured("stock", stock), rounds)
        four = tuple(in_own_process(ours, large)[1] for _ in range(min(rounds, 3)))
    one = tuple(memory["ours"][1 : 1 + len(four)])
    source = "plain text" if "TEXT" in os.environ else "random words"
    common = {"benchmark": NAME, "ours": "pack"}
    return [
        Figure(
            **common,
            case="speed",
            theirs="map(tokenize), map(group_texts)",
            unit="MB/s",
            ours_values=speeds[0],
            theirs_values=speeds[1],
            ratios=compared(*speeds, "higher"),
            target=None if quick else 1.5,
            better="higher",
            same=same,
            note=f"{megabytes:g} MB of {source}; peak memory {np.median(memory['ours']):.0f} MB, "
            f"stock {np.median(memory['stock']):.0f} MB",
        ),
        Figure(
            **common | {"ours": f"{4 * megabytes:g} MB of text"},
            case="memory, four times the text",
            theirs=f"{megabytes:g} MB of text",
            unit="MB",
            ours_values=four,
            theirs_values=one,
            ratios=compared(four, one, "lower"),
            # Flat: a quarter more for four times as much is the noise of an allocator.
            target=None if quick else 0.8,
            better="lower",
            same="the same packer",
        ),
    ]
