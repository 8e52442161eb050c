"""Carries out stages in the order of their needs; a failure is a result too, and the rest goes on."""

import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from statistics import median

from wellread_hf.errors import BusyError, DiskFullError, TrialsFailedError, WellreadError
from wellread_hf.results.trials import State
from wellread_hf.store.graph import carry_out
from wellread_hf.store.progress import bar, quiet, say
from wellread_hf.store.records import write_atomically
from wellread_hf.store.stage import Stage
from wellread_hf.students import STUDENTS, Student

# What holds a student, and takes long.
TRAINED = ("pretrain", "finetune", "distill", "label")
# Where a stage's folder keeps the traceback of a failure: a result has room for one line.
TRACEBACK = "error.txt"
# Between two looks at a folder in which another process works: a trial takes seconds at least.
_LOOK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A stage, and what an engine needs to know of it.

    Attributes:
        stage: What to do.
        student: Whose size decides about CPUs and GPUs; None: the largest.
        compared: Jobs of the same name are compared for early stopping; None: never stopped.
        metric: The score that compares them.
        names: What the settings are called that the stage's errors name, where a recipe calls them otherwise.
        alike: Groups of jobs that take as long for the same work, the nearest first; none: it is not timed.
        work: How much there is to do, in any unit.
    """

    stage: Stage
    student: Student | None = STUDENTS[0]
    compared: str | None = None
    metric: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    alike: Sequence[Hashable] = ()
    work: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a job.

    Attributes:
        state: `done`, `failed` or `stopped`.
        seconds: Wall time since it was started last.
        scores: Of the last evaluation, 0 to 1; only where it was stopped.
        error: Why it failed, in one line.
    """

    state: State
    seconds: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None


# Called in the process of the caller as soon as a job has ended.
OnEnd = Callable[[Job, Result], None]
# Does jobs that need nothing any more, in any order.
Engine = Callable[[Sequence[Job], OnEnd], None]


def job_of(stage: Stage, student: Student | None) -> Job:
    """Makes the job of a stage that is about a student; stages of one kind take as long as they are large.

    Args:
        stage: What to do.
        student: Whom it is about; None where it is not known.
    """
    return Job(
        stage=stage,
        student=student if stage.kind in TRAINED else STUDENTS[0],
        alike=((stage.kind, student), stage.kind),
        # As products of a layer grow; of a given teacher it is not known.
        work=1.0 if student is None else float(student.layers * student.hidden**2),
    )


def finish(jobs: Sequence[Job], engine: Engine, title: str) -> None:
    """Carries out jobs, as `run` does, of which all are needed; says at once what fails.

    Raises:
        TrialsFailedError: Something failed; the others are finished.
    """

    def on_end(job: Job, result: Result) -> None:
        if result.error is not None:
            say(f"failed: {job.stage.folder.name}: {result.error}")

    if failed := run(jobs, engine, on_end, title):
        raise TrialsFailedError(
            f"{len(failed)} of {len(jobs)} stages failed or wait for one that did, the first is "
            f"{next(iter(failed.values()))}. The others are finished; what failed is tried again by the same "
            "command"
        )


def run(
    jobs: Sequence[Job], engine: Engine, on_end: Callable[[Job, Result], str | None], title: str = "jobs"
) -> dict[str, str]:
    """Carries out jobs, each after those that it needs, with a progress bar.

    Args:
        jobs: Each stage once; what they need beside each other is done, or else they fail.
        engine: Where they are carried out.
        on_end: Called once a job, also where it was done before or lacks a need; what it returns is shown
            beside the bar.
        title: What the bar is called.

    Returns:
        Why jobs failed, by the digest of the stage.
    """
    failed: dict[str, str] = {}
    # Shown at once: the first job may take hours.
    with bar(title, "stages", len(jobs), delay=0) as shown:

        def ended(job: Job, result: Result) -> None:
            if result.error is not None:
                failed[job.stage.digest] = f"{job.stage.folder.name}: {result.error}"
            beside = on_end(job, result)
            shown.update()
            if beside is not None:
                shown.set_postfix_str(beside)

        # Level by level: waiting for the slowest of one costs little beside thousands of trials.
        for level in levels(jobs):
            ready = []
            for job in level:
                unfinished = [needed.folder.name for needed in job.stage.after if needed.state != "done"]
                if job.stage.state == "done":
                    ended(job, Result(state="done"))
                elif unfinished:
                    error = f"it needs {unfinished[0]}, which did not finish"
                    ended(job, Result(state="failed", error=error))
                else:
                    ready.append(job)
            engine(ready, ended)
    return failed


def levels(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Groups jobs so that each group needs only the groups before it; within a group their order stays."""
    known = {job.stage.digest for job in jobs}
    order = TopologicalSorter(
        {
            job.stage.digest: [needed.digest for needed in job.stage.after if needed.digest in known]
            for job in jobs
        }
    )
    order.prepare()
    while order.is_active():
        ready = set(order.get_ready())
        yield [job for job in jobs if job.stage.digest in ready]
        order.done(*ready)


def in_this_process(jobs: Sequence[Job], on_end: OnEnd) -> None:
    """Does one job after another."""
    for job in jobs:
        on_end(job, attempt(job))


def attempt(job: Job) -> Result:
    """Carries out a stage; an error becomes a result, and a traceback in the stage's folder.

    Raises:
        DiskFullError: Others would fail alike.
    """
    stage, started, error = job.stage, time.monotonic(), None
    try:
        _when_free(stage)
    except DiskFullError:
        # Every other job would find the disk as full.
        raise
    except WellreadError as refused:
        error = " ".join(str(refused.renamed(job.names)).split())
    except Exception as fault:  # of any kind, a full memory above all: other jobs may do
        error = " ".join(f"{type(fault).__name__}: {fault}".split())
        if stage.folder.is_dir():
            write_atomically(stage.folder / TRACEBACK, traceback.format_exc())
    if error is None:
        (stage.folder / TRACEBACK).unlink(missing_ok=True)
    return Result(
        state="done" if error is None else "failed",
        seconds=time.monotonic() - started,
        error=error,
    )


def _when_free(stage: Stage) -> None:
    """Carries out a stage, and waits while another process works on it, that of another sweep for one."""
    waits = False
    while True:
        try:
            with quiet():
                return carry_out([stage])
        except BusyError as busy:
            if not waits:
                say(f"waits: {busy}")
            waits = True
            time.sleep(_LOOK_AGAIN_SECONDS)


def time_left(jobs: Sequence[Job], stopped: Collection[str] = ()) -> str:
    """States how long unfinished jobs will take one after another, judging by finished ones like them.

    Args:
        jobs: All of them.
        stopped: Digests of those that were stopped early, for which nothing is left to do.
    """
    left = [job for job in jobs if job.stage.state != "done" and job.stage.digest not in stopped]
    if not left:
        return "nothing is left to do"
    paces: dict[Hashable, list[float]] = {}
    for job in jobs:
        if job.stage.state == "done":
            for group in job.alike:
                paces.setdefault(group, []).append(job.stage.record.seconds / job.work)
    known = [(job, next((group for group in job.alike if group in paces), None)) for job in left]
    seconds = [job.work * median(paces[group]) for job, group in known if group is not None]
    scaled = sum(group is not None and group != job.alike[0] for job, group in known)
    unknown = Counter(job.stage.kind for job, group in known if group is None)
    of_unknown = ", ".join(f"{kind} {count:,}" for kind, count in unknown.items())
    if not seconds:
        return f"not known until one of a kind is done ({of_unknown}); start, end it with Ctrl-C, ask again"
    parts = [f"about {_duration(sum(seconds))} for {len(seconds):,} stages left, one after another"]
    if scaled:
        parts.append(f"{scaled:,} of them scaled from others by size and rows")
    if unknown:
        parts.append(f"not known for {of_unknown}")
    return "; ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
