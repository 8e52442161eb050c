"""How long the whole family takes on a cluster, and what holds it up: a simulation from measured rates.

  python -m benchmarks.scale
  python -m benchmarks.scale --words 1e9 --gpus 8 --peak 989e12
  python -m benchmarks.scale --check

Packing, pre-training of all 24, labelling, fine-tuning and the push are jobs that need each other and share
devices, a shared folder and the line to the Hub. Rates are those of results.json, measured on two cores. No
GPU was measured: one is given as a peak, of which each width is taken to reach an assumed share
(`family_jobs.SHARES`). With gpu.json, which `benchmarks/gpu.py` writes, its measured rates are used instead.
Bottlenecks are found by making one resource after another unlimited. `--check` trains two small students
here, and compares the time with the prediction.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import wellread_hf.stages as stages
from benchmarks.family_jobs import HERE, MASKED, Cluster, Work, assumed, jobs_of, measured
from benchmarks.simulation import Job, Outcome, chain, simulate
from wellread_hf.experiments.scheduler import Job as Scheduled
from wellread_hf.experiments.scheduler import in_this_process, run
from wellread_hf.models.load import load_tokenizer
from wellread_hf.results.tables import Table
from wellread_hf.results.training_costs import Rates, cost_of
from wellread_hf.settings import Corpus, Pretrain, Running
from wellread_hf.store.graph import carry_out
from wellread_hf.students import Student

# Of each of the two students of `--check`: seconds on an idle machine.
_CHECKED_STEPS = 60

# What a resource is made unlimited by.
UNLIMITED: Mapping[str, dict[str, Any]] = {
    "devices": {"devices": inf},
    "machines that pack": {"machines": 1_000},
    "the shared folder": {"storage": inf},
    "the line to the Hub": {"uplink": inf},
    "masking": {"masked": inf},
    "levels": {"in_levels": False},
}


def bottlenecks(work: Work, cluster: Cluster, count: int = 2) -> list[str]:
    """Returns what holds the family up most, and then what does once that is unlimited, with the times.

    Where nothing more of a resource saves a hundredth, it is the longest chain.
    """
    found = []
    total = total_of(work, cluster).total
    left = dict(UNLIMITED)
    while len(found) < count:
        times = {name: total_of(work, replace(cluster, **more)).total for name, more in left.items()}
        name = min(times, key=lambda each: times[each], default="")
        if not times or times[name] > 0.99 * total:
            longest = max(chain(jobs_of(work, cluster)), key=lambda job: job.seconds)
            found.append(f"the longest chain ({longest.name})")
            return [*found, *[""] * (count - len(found))]
        found.append(f"{name} (unlimited: {_hours(times[name])} h)")
        cluster, total = replace(cluster, **left.pop(name)), times[name]
    return found


def total_of(work: Work, cluster: Cluster) -> Outcome:
    """Simulates the family on a cluster."""
    slots = {"devices": cluster.devices, "machines": cluster.machines, "uplink": 1.0}
    return simulate(jobs_of(work, cluster), slots)


def table(work: Work, clusters: Sequence[Cluster]) -> Table:
    """Returns a row a cluster: hours until each kind of work is done, use of the devices, bottlenecks."""
    rows = []
    for cluster in clusters:
        found = total_of(work, cluster)
        ends = {kind: _end(found, kind) for kind in ("pack", "pretrain")}
        stored = sum(job.storage for job in jobs_of(work, cluster)) * cluster.storage
        rows.append(
            [
                cluster.name,
                _hours(ends["pack"]),
                _hours(ends["pretrain"]),
                _hours(found.total),
                f"{found.busy['devices'] / cluster.devices / found.total:.0%}",
                f"{stored / 1e12:.1f}",
                *bottlenecks(work, cluster),
            ]
        )
    head = ["where", "hours until packed", "until all are pre-trained", "until all is done", "devices in use",
            "TB through the folder", "first bottleneck", "next"]  # fmt: skip
    return Table(head, rows)


def _end(found: Outcome, kind: str) -> float:
    return max(end for name, end in found.ends.items() if name.startswith(kind))


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f}" if seconds < 360_000 else f"{seconds / 3600:,.0f}"


def clusters(peak: float = 989e12, gpus: int = 8) -> list[Cluster]:
    """Returns the clusters of docs/scale.md: measured ones, and GPUs, measured if gpu.json is there."""
    here, _, _ = measured()
    gpu = Rates.of_gpu(HERE / "gpu.json") or assumed(peak)
    hundred = Cluster(name="100 machines of two cores", rates=here, devices=100, machines=100)
    box = Cluster(name=f"{gpus} GPUs ({gpu.device})", rates=gpu, devices=gpus, machines=16, batch=256)
    return [
        Cluster(name="one machine of two cores", rates=here),
        hundred,
        replace(hundred, name="the same, large students spread over up to 64", split=64, batch=256),
        box,
        replace(
            box,
            name="the same, `workers` 8, `checkpoint_steps` 5000",
            masked=8 * MASKED,
            checkpoint_steps=5_000,
        ),
    ]


def check(folder: Path) -> Table:
    """Trains two small students here by the scheduler, and sets their time beside the prediction."""
    settings, running = Pretrain(steps=_CHECKED_STEPS), Running(runs=folder)
    corpus = Corpus(sources=("toy:corpus@smoke",), tokenizer="toy:tokenizer@smoke")
    planned = {
        student: stages.pretrain(replace(settings, student=student.name), corpus, running)
        for student in (Student(2, 128), Student(4, 128))
    }
    packed = next(need for stage in planned.values() for need in stage.after if need.kind == "pack")
    carry_out([packed])
    words = len(load_tokenizer(packed.reads[0]))
    rate = stages.rate([*planned], settings, running, words)
    carry_out([rate])
    rates = Rates.of_stage(rate.record.outcome)
    began = time.perf_counter()
    run([Scheduled(stage=stage) for stage in planned.values()], in_this_process, lambda job, result: None)
    took = time.perf_counter() - began
    tokens = _CHECKED_STEPS * settings.optim.batch_size * settings.block_lengths[0]
    predicted = [
        cost_of(student, tokens, settings, [rates], words).seconds[rates.device] for student in planned
    ]
    jobs = [
        Job(name=student.name, on="devices", seconds=seconds or 0.0)
        for student, seconds in zip(planned, predicted, strict=True)
    ]
    expected = simulate(jobs, {"devices": 1}).total
    trained = sum(stage.record.outcome["seconds_training"] for stage in planned.values())
    return Table(
        ["seconds", "predicted", "measured", "off by"],
        [
            ["training", f"{expected:.1f}", f"{trained:.1f}", f"{expected / trained - 1:+.0%}"],
            ["with loading, evaluating, saving", "", f"{took:.1f}", ""],
        ],
    )


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line, simulates and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--words", type=float, default=Work.words, help="of the corpus")
    parser.add_argument("--passes", type=float, default=Work.passes, help="over it, of each student")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--peak", type=float, default=989e12, help="FLOP/s of a GPU that was not measured")
    parser.add_argument("--check", action="store_true", help="train two small students, and compare")
    given = parser.parse_args(arguments)
    if given.check:
        with tempfile.TemporaryDirectory() as folder:
            check(Path(folder)).show("2-128 and 4-128 by the scheduler, predicted and measured")
        return
    work = Work(words=given.words, passes=given.passes)
    table(work, clusters(given.peak, given.gpus)).show(f"all 24, {given.words:.2g} words")


if __name__ == "__main__":
    main()
