"""How long the whole family takes on a cluster, and what holds it up: a simulation from measured rates.

  python -m benchmarks.scale
  python -m benchmarks.scale --words 1e9 --devices 8 --peak 989e12
  python -m benchmarks.scale --check

Packing, pre-training of all 24, labelling, fine-tuning and the push are jobs that need each other and share
devices, a shared folder and the line to the Hub. Rates are those of results.json, measured on two cores. No
GPU was measured: one is given as a peak, of which each width is taken to reach an assumed share (`SHARES`).
With gpu.json, which `benchmarks/gpu.py` writes, its measured rates are used instead. Bottlenecks are found by
making one resource after another unlimited. `--check` trains two small students here, and compares the time
with the prediction.
"""

import argparse
import heapq
import json
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import wellread_hf.stages as stages
from wellread_hf.experiments.scheduler import Job as Scheduled
from wellread_hf.experiments.scheduler import in_this_process, run
from wellread_hf.models.load import load_tokenizer
from wellread_hf.results.tables import Table
from wellread_hf.results.training_costs import Rates, cost_of, operations_per_token
from wellread_hf.settings import Corpus, Pretrain, Running
from wellread_hf.stages.budgeting import cost
from wellread_hf.store.graph import carry_out
from wellread_hf.students import STUDENTS, Student
from wellread_hf.training.operations import classifier_products, operations

HERE = Path(__file__).parent
# Assumed shares of a GPU's peak; narrow students are limited by launches and memory. None was measured.
SHARES = {128: 0.05, 256: 0.10, 512: 0.25, 768: 0.40}
# WordPieces and bytes a word of English, and bytes of a packed id.
_TOKENS, _BYTES, _ID = 1.33, 6.0, 2
# GLUE's training rows, WNLI left out; passes, seeds, and the WordPieces of a row, of pairs mostly.
_GLUE_ROWS, _EPOCHS, _SEEDS, _ROW = 949_000, 4, 3, 40
_TASKS = 8
# A transfer set, labelled in shards by a teacher of the largest size.
_TRANSFER, _SHARDS = 1_000_000, 64
_TEACHER = Student(12, 768)
# Loading, the last evaluation and saving: what a run takes beside its steps.
_AROUND_A_RUN = 20.0
# Weights and two moments.
_CHECKPOINT = 12
_A_COMMIT = 5.0
# Tokens a second that one process reads and masks; measured on a core of the machine of results.json's kind.
_MASKED = 1.4e6
# Of each of the two students of `--check`: seconds on an idle machine.
_CHECKED_STEPS = 60


@dataclass(frozen=True, kw_only=True)
class Job:
    """What holds slots of one resource, and then, without giving them back, the shared folder."""

    name: str
    on: str
    seconds: float
    storage: float = 0.0  # seconds at the shared folder's full bandwidth
    after: Sequence[str] = ()
    slots: int = 1


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a simulation, in seconds."""

    total: float
    ends: Mapping[str, float]
    busy: Mapping[str, float]  # of all slots of a resource together


def simulate(jobs: Sequence[Job], slots: Mapping[str, float]) -> Outcome:
    """Carries out jobs, each after those that it needs, first come first served.

    Args:
        jobs: Each name once; needs may be in any order.
        slots: How many jobs a resource takes at once; `storage` takes one where it is not given.
    """
    slots = {"storage": 1, **slots}
    waiting: dict[str, deque[tuple[Job, float]]] = {name: deque() for name in slots}
    used, busy = dict.fromkeys(slots, 0), dict.fromkeys(slots, 0.0)
    needs = {job.name: set(job.after) for job in jobs}
    followers: dict[str, list[Job]] = {}
    for job in jobs:
        for need in job.after:
            followers.setdefault(need, []).append(job)
    ends: dict[str, float] = {}
    events: list[tuple[float, int, Job, str]] = []
    now, count = 0.0, 0

    def start(resource: str) -> None:
        nonlocal count
        while waiting[resource]:
            job, seconds = waiting[resource][0]
            taken = job.slots if resource == job.on else 1
            if used[resource] + taken > slots[resource]:
                return
            waiting[resource].popleft()
            used[resource] += taken
            busy[resource] += seconds * taken
            count += 1
            heapq.heappush(events, (now + seconds, count, job, resource))

    def ask(job: Job, resource: str, seconds: float) -> None:
        waiting[resource].append((job, seconds))
        start(resource)

    def finish(job: Job) -> None:
        used[job.on] -= job.slots
        ends[job.name] = now
        start(job.on)
        for other in followers.get(job.name, ()):
            needs[other.name].discard(job.name)
            if not needs[other.name]:
                ask(other, other.on, other.seconds)

    for job in jobs:
        if not job.after:
            ask(job, job.on, job.seconds)
    while events:
        now, _, job, resource = heapq.heappop(events)
        if resource == "storage":
            used["storage"] -= 1
            start("storage")
            finish(job)
        elif job.storage:
            ask(job, "storage", job.storage)
        else:
            finish(job)
    return Outcome(total=now, ends=ends, busy=busy)


def chain(jobs: Sequence[Job]) -> list[Job]:
    """Returns the longest chain of jobs that need each other, the first job first."""
    by_name = {job.name: job for job in jobs}

    @cache
    def longest(name: str) -> tuple[float, tuple[str, ...]]:
        job = by_name[name]
        before = max(map(longest, job.after), default=(0.0, ()))
        return before[0] + job.seconds + job.storage, (*before[1], name)

    return [by_name[name] for name in max(map(longest, by_name))[1]]


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where the family is made; bandwidths in bytes a second."""

    name: str
    rates: Rates
    devices: float = 1
    machines: float = 1  # that pack, each as fast as the one that was measured
    storage: float = 500e6
    uplink: float = 20e6
    network: float = 1.25e9  # between devices, for gradients
    masked: float = _MASKED  # tokens a second that a training process reads and masks
    batch: int = 32
    checkpoint_steps: int = 500
    split: int = 1  # devices over which the largest student is spread, smaller ones by their operations
    in_levels: bool = True  # as the scheduler does: what needs nothing any more waits for its level


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is made: a corpus of so many words, read so many times by each of the students."""

    words: float = 3.3e9
    passes: float = 1.0
    students: Sequence[Student] = field(default=STUDENTS)


def measured(path: Path = HERE / "results.json") -> tuple[Rates, float, float]:
    """Returns the rates of pre-training, the bytes of text packed a second, and fine-tuning's share.

    The last is how many operations a second fine-tuning computes over those of masked LM, both of 2-128.
    """
    found = json.loads(path.read_text())
    figures = {
        (name, each["case"]): median(each["ours_values"])
        for name in ("mlm", "pack", "finetune")
        for each in found[name]["figures"]
    }
    timed = {
        Student.parse(case): value
        for (name, case), value in figures.items()
        if name == "mlm" and "," not in case
    }
    seconds = {student: 1 / value for student, value in timed.items()}
    rates = {student.name: timed.get(student) or 1 / cost(seconds, student) for student in STUDENTS}
    share = figures["finetune", "2-128, utilisation"] / figures["mlm", "2-128, utilisation"]
    known = frozenset(student.name for student in timed)
    device = found["mlm"]["device"]
    return Rates(device=device, tokens_per_second=rates, timed=known), 1e6 * figures["pack", "speed"], share


def assumed(peak: float) -> Rates:
    """Returns the rates of a GPU of a peak of so many FLOP/s, by the assumed shares."""
    plan = Pretrain()
    rates = {
        student.name: SHARES[student.hidden] * peak / operations_per_token(student, plan)
        for student in STUDENTS
    }
    return Rates(device=f"assumed GPU, {peak / 1e12:g} TFLOP/s", tokens_per_second=rates, timed=frozenset())


def jobs_of(work: Work, cluster: Cluster) -> list[Job]:
    """Returns the jobs of the whole family."""
    jobs = list(_jobs(work, cluster))
    if not cluster.in_levels:
        return jobs
    depth: dict[str, int] = {}
    for job in jobs:  # needs come first
        depth[job.name] = max((depth[need] + 1 for need in job.after), default=0)
    levels: dict[int, list[str]] = {}
    for name, level in depth.items():
        levels.setdefault(level, []).append(name)
    return [replace(job, after=levels.get(depth[job.name] - 1, ())) for job in jobs]


def _jobs(work: Work, cluster: Cluster) -> Iterator[Job]:
    _, text_rate, share = measured()
    text, tokens = work.words * _BYTES, work.words * _TOKENS
    parts = int(min(cluster.machines, 1_000))
    packs = [f"pack {number}" for number in range(parts)]
    for name in packs:
        stored = (text + _ID * tokens) / parts / cluster.storage
        yield Job(name=name, on="machines", seconds=text / parts / text_rate, storage=stored)
    yield from _labels(cluster, share)
    labels = [f"label {number}" for number in range(_SHARDS)]
    for student in work.students:
        read = tokens * work.passes
        spread = _spread(student, cluster)
        yield Job(
            name=f"pretrain {student}",
            on="devices",
            seconds=_pretraining(student, read, spread, cluster),
            storage=_stored(student, read, cluster),
            after=packs,
            slots=spread,
        )
        row = _row_seconds(student, cluster, share)
        tuned = []
        for seed in range(_SEEDS):
            for task in range(_TASKS):
                name = f"PF {student} {task} {seed}"
                seconds = _GLUE_ROWS / _TASKS * _EPOCHS * row + _AROUND_A_RUN
                yield Job(name=name, on="devices", seconds=seconds, after=[f"pretrain {student}"])
                tuned.append(name)
            name = f"PD {student} {seed}"
            seconds = _TRANSFER * row + _AROUND_A_RUN
            yield Job(name=name, on="devices", seconds=seconds, after=[f"pretrain {student}", *labels])
            tuned.append(name)
        # Cards have the scores, so a push comes last.
        seconds = 4 * student.parameters() / cluster.uplink + _A_COMMIT
        yield Job(name=f"push {student}", on="uplink", seconds=seconds, after=tuned)


def _spread(student: Student, cluster: Cluster) -> int:
    """Returns the devices of a student's pre-training: as many as its operations are worth, one at least."""
    most = operations_per_token(_TEACHER, Pretrain())
    return max(1, round(cluster.split * operations_per_token(student, Pretrain()) / most))


def _pretraining(student: Student, tokens: float, spread: int, cluster: Cluster) -> float:
    """Returns the seconds of a pre-training on `spread` devices, which wait for each other's gradients."""
    # Batches are made by the training processes themselves, between steps.
    a_token = 1 / cluster.rates.tokens_per_second[student.name] + 1 / cluster.masked
    # A ring passes on each gradient twice.
    exchanged = 2 * 4 * student.parameters() * (spread - 1) / spread / cluster.network
    return tokens / spread * a_token + tokens / (cluster.batch * 128) * exchanged + _AROUND_A_RUN


def _labels(cluster: Cluster, share: float) -> Iterator[Job]:
    # Without a backward pass, which takes two thirds.
    row = _row_seconds(_TEACHER, cluster, share) / 3
    for number in range(_SHARDS):
        yield Job(name=f"label {number}", on="devices", seconds=_TRANSFER / _SHARDS * row)


def _row_seconds(student: Student, cluster: Cluster, share: float) -> float:
    """Returns the seconds of a row in fine-tuning: as much slower than pre-training as 2-128 was measured."""
    speed = cluster.rates.operations_per_second(student)
    assert speed is not None
    return operations(classifier_products(student.shape, 1, _ROW)) / (speed * share)


def _stored(student: Student, tokens: float, cluster: Cluster) -> float:
    """Returns how long the shared folder works for a pre-training: blocks read, checkpoints written."""
    steps = tokens / (cluster.batch * 128)
    checkpoints = steps / cluster.checkpoint_steps * _CHECKPOINT * student.parameters()
    return (_ID * tokens + checkpoints) / cluster.storage


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
            masked=8 * _MASKED,
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
