"""How time and memory grow: with the corpus, the transfer set, the students of one teacher, the processes.

  python -m benchmarks.growth

Each point is measured in a process of its own, and time is CPU seconds, which other work on the machine
disturbs least; of several processes it is the wall time. The exponent is the slope of a straight line through
the logarithms (least squares): 1 is linear, above 1 is a defect. Writes growth.json and growth.png. Sizes are
small: what is asked is how they grow, not how long they take.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import pack
from benchmarks.pairs import Peak, in_own_process
from benchmarks.report import circumstances
from benchmarks.sst2 import classifier, encoded, encoder, our_training, rows
from wellread_hf.store.progress import quiet
from wellread_hf.store.records import commit, write_atomically

Point = tuple[float, float]


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Returns b of the best fit values = a · sizes^b."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def corpus(megabytes: float) -> Point:
    """Packs so much text; returns CPU seconds and MB of memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        pack.write_text(path, megabytes)
        return in_own_process(_packed, path)


def transfer_set(count: float) -> Point:
    """Labels so many rows and distils one student for an epoch."""
    return in_own_process(_distilled, int(count), 1)


def students(count: float) -> Point:
    """Labels rows once and distils so many students, one after another."""
    return in_own_process(_distilled, 256, int(count))


def processes(count: float) -> Point:
    """Labels 768 rows in so many processes; returns seconds, and MB of memory of the largest."""
    return in_own_process(_shared_out, int(count))


def _packed(path: Path) -> Point:
    return pack.ours(path, time.process_time)


def _distilled(count: int, students: int) -> Point:
    texts, _ = rows(count)
    teacher = classifier("4-128").eval()
    # What a first step allocates and compiles is not growth.
    _label_and_train(teacher, rows(64)[0], 1)
    peak, started = Peak(), time.process_time()
    _label_and_train(teacher, texts, students)
    return time.process_time() - started, peak.megabytes


def _label_and_train(teacher: Any, texts: Any, students: int) -> None:
    from wellread_hf.labelling.classifier_labeller import ClassifierLabeller
    from wellread_hf.labelling.label_rows import label_rows
    from wellread_hf.labelling.soft_labels import SoftLabels
    from wellread_hf.settings import Label

    with tempfile.TemporaryDirectory() as folder, quiet():
        label_rows(
            ClassifierLabeller(teacher, encoder(), [0, 1], Label()), texts, Label().shard_rows, Path(folder)
        )
        logits = SoftLabels.open(Path(folder)).logits
    data = encoded(texts)
    for seed in range(students):
        our_training(classifier("2-128", seed), data, {"teacher_logits": logits}, 1)


def _shared_out(count: int) -> Point:
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        found, all_warm = context.Queue(), context.Barrier(count)
        started = [
            context.Process(target=_label_a_share, args=(Path(folder), rank, all_warm, found))
            for rank in range(count)
        ]
        for process in started:
            process.start()
        points = [found.get() for _ in started]
        for process in started:
            process.join()
        return max(seconds for seconds, _ in points), max(memory for _, memory in points)


def _label_a_share(folder: Path, rank: int, all_warm: Any, found: Any) -> None:
    import torch

    from wellread_hf.labelling.classifier_labeller import ClassifierLabeller
    from wellread_hf.labelling.label_rows import label_rows
    from wellread_hf.settings import Label

    # One thread each, so that two processes are twice the machine that one is.
    torch.set_num_threads(1)
    texts, _ = rows(768)
    teacher = classifier("4-256").eval()
    settings = Label(shard_rows=96)
    with quiet():
        label_rows(
            ClassifierLabeller(teacher, encoder(), [0, 1], settings),
            texts[:96],
            settings.shard_rows,
            folder / f"warm-{rank}",
        )
        all_warm.wait()
        peak, started = Peak(), time.perf_counter()
        label_rows(
            ClassifierLabeller(teacher, encoder(), [0, 1], settings), texts, settings.shard_rows, folder
        )
        found.put((time.perf_counter() - started, peak.megabytes))


# Name: axis, measure, sizes.
CURVES: dict[str, tuple[str, Callable[[float], Point], tuple[float, ...]]] = {
    "corpus": ("MB of text to pack", corpus, (2, 8, 32)),
    "transfer set": ("rows labelled and learnt", transfer_set, (256, 1024, 4096)),
    "students": ("students of one teacher", students, (1, 2, 4)),
    "processes": ("processes that label 768 rows", processes, (1, 2)),
}
_QUICK = {"corpus": (0.5, 2), "transfer set": (64, 128), "students": (1, 2), "processes": (1, 2)}


def measure(names: Sequence[str], rounds: int, quick: bool) -> dict[str, Any]:
    """Measures curves, all sizes of a curve in turn; returns points and exponents by name."""
    found = {}
    for name in names:
        axis, side, sizes = CURVES[name]
        sizes = _QUICK[name] if quick else sizes
        points = [[side(size) for size in sizes] for _ in range(rounds)]
        seconds, memory = np.median(np.array(points), axis=0).T.tolist()
        fits = np.array(
            [[exponent(sizes, values) for values in np.array(row).T.clip(0.1)] for row in points]
        ).T
        found[name] = {
            "axis": axis,
            "sizes": list(sizes),
            "seconds": seconds,
            "MB": memory,
            "exponents of time": [float(np.median(fits[0])), float(fits[0].min()), float(fits[0].max())],
            "exponents of memory": [float(np.median(fits[1])), float(fits[1].min()), float(fits[1].max())],
        }
        print(name, json.dumps(found[name]))
    return found


def draw(found: dict[str, Any], path: Path) -> None:
    """Draws time and memory of each curve, and what linear growth is; of processes, what a fair share is."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(3.1 * len(found), 5), layout="constrained")
    axes = picture.subplots(2, len(found), squeeze=False)
    for column, (which, curve) in enumerate(found.items()):
        for row, (values, name, unit) in enumerate(
            ((curve["seconds"], "time", "seconds"), (curve["MB"], "memory", "MB above the start"))
        ):
            place = axes[row, column]
            middle, low, high = curve[f"exponents of {name}"]
            times = np.array(curve["sizes"]) / curve["sizes"][0]
            shared = which == "processes" and name == "time"
            ideal = values[0] / times if shared else values[0] * times
            label = "half for twice as many" if shared else "linear"
            place.plot(curve["sizes"], ideal, color="gray", linewidth=1, linestyle="--", label=label)
            place.plot(curve["sizes"], values, "o-", color=f"C{row}", label=unit)
            place.set(xscale="log", yscale="log", xlabel=curve["axis"])
            place.set_xticks(curve["sizes"], [f"{size:g}" for size in curve["sizes"]])
            place.minorticks_off()
            place.set_title(f"{name}: exponent {middle:.2f} ({low:.2f} to {high:.2f})", fontsize=8)
            if column == 0:
                place.set_ylabel(unit)
            if row == 0:
                place.legend(fontsize=7)
    beside = path.with_name(path.name + ".part")
    picture.savefig(beside, format="png", dpi=150)
    commit(beside, path)


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=CURVES, default=list(CURVES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="two small sizes a curve, to see that it runs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of the results")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    found = measure(given.only, given.rounds, given.quick)
    path = given.out / "growth.json"
    # Curves that were not measured again keep what was found of them.
    curves = json.loads(path.read_text()) if path.is_file() else {}
    for name, curve in found.items():
        command = f"python -m benchmarks.growth --only '{name}' --rounds {given.rounds}"
        curves[name] = circumstances(given.rounds, command + " --quick" * given.quick) | curve
    write_atomically(path, json.dumps(curves, indent=1) + "\n")
    draw(curves, given.out / "growth.png")


if __name__ == "__main__":
    main()
