"""What making the family takes: its jobs, from measured rates, for a cluster of a given size."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from benchmarks.simulation import Job
from wellread_hf.results.training_costs import Rates, operations_per_token
from wellread_hf.settings import Pretrain
from wellread_hf.stages.budgeting import cost
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
MASKED = 1.4e6


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
    masked: float = MASKED  # tokens a second that a training process reads and masks
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
