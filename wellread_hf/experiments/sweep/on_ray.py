"""Trials side by side on Ray: scheduling, lost machines and early stopping are Ray Tune's."""

import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray import tune

from wellread_hf.errors import DiskFullError, SettingsError, Terminated
from wellread_hf.experiments.sweep.address import no_cluster
from wellread_hf.experiments.sweep.asha import compare_likes
from wellread_hf.experiments.sweep.jobs import Job, Result, Runs, attempt
from wellread_hf.experiments.sweep.settings import Engine
from wellread_hf.students import Student
from wellread_hf.training.callbacks import ON_EVALUATION

_MANNERS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}
_RETRIES = 2
# By parameters of the student, in millions: CPUs, and the share of a GPU that it leaves idle when alone.
_SIZES = ((10, 1, 0.125), (35, 2, 0.25), (80, 4, 0.5), (float("inf"), 4, 1.0))


@contextmanager
def connected(settings: Engine, folder: Path) -> Iterator[Runs]:
    """Joins a Ray cluster, or starts one on this machine, for as long as the context lasts.

    Args:
        settings: Address and resources.
        folder: The sweep's folder; all machines must see it under the same path.

    Raises:
        SourceError: There is no Ray cluster at the address.
    """
    # Unless told not to, it counts its uses over the network, takes Ctrl-C for itself, and keeps and shows
    # logs beside our table.
    for variable, value in _MANNERS.items():
        os.environ.setdefault(variable, value)
    heard = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            # Left unsaid, it would look for a cluster that was here before, and wait for it.
            address=settings.address or "local",
            include_dashboard=None if settings.address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise no_cluster(settings.address, " ".join(str(error).split())) from error
    except SystemExit as ended:
        raise Terminated(signal.SIGTERM) from ended
    finally:
        # Ray puts a handler of its own there, which ends the program without a word.
        signal.signal(signal.SIGTERM, heard)
    # What it says of a lost machine and of each trial, our table says in a row.
    for name in ("ray", "ray.tune", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield lambda jobs, ended: _run(jobs, ended, settings, folder)
    finally:
        ray.shutdown()
        shutil.rmtree(folder / "ray", ignore_errors=True)


def _run(jobs: Sequence[Job], ended: Callable[[Job, Result], None], settings: Engine, folder: Path) -> None:
    if not jobs:
        return
    retries = _RETRIES if settings.retries is None else settings.retries
    machines = _machines()
    shares = [_share(job, settings, machines) for job in jobs]
    place = {"folder": str(folder.absolute()), "cwd": os.getcwd(), "argv": sys.argv}
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(_work, jobs=list(jobs), place=place),
            lambda config: tune.PlacementGroupFactory([shares[config["job"]]]),
        ),
        param_space={"job": tune.grid_search(list(range(len(jobs))))},
        tune_config=tune.TuneConfig(
            scheduler=compare_likes(jobs) if settings.asha else None,
            # A worker that has loaded torch goes on to the next job.
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(folder.absolute() / "ray"),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=retries),
            callbacks=[_Teller(jobs, ended)],
        ),
    )
    tuner.fit()


class _Teller(tune.Callback):
    """The driver, and nobody else, hears of what became of each trial."""

    def __init__(self, jobs: Sequence[Job], ended: Callable[[Job, Result], None]) -> None:
        self.jobs, self.ended = jobs, ended

    def __getstate__(self) -> dict[str, Any]:
        # Tune writes down what it is made of, to be restored by another driver; ours goes by the stages.
        return {}

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        last = trial.last_result
        if "result" in last:
            result = Result(**last["result"])
        else:
            result = Result(
                state="stopped", host=last["hostname"], seconds=last["time_total_s"], scores=last["scores"]
            )
        self.ended(self.jobs[trial.config["job"]], result)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        why = (str(trial.get_error()).strip().splitlines() or ["nothing was said"])[-1]
        host = (trial.last_result or {}).get("hostname", "not known")
        error = f"its worker was lost {trial.num_failures} times: {why}"
        self.ended(
            self.jobs[trial.config["job"]], Result(state="failed", host=host, seconds=0.0, error=error)
        )


def _work(config: Mapping[str, int], jobs: Sequence[Job], place: Mapping[str, Any]) -> None:
    """Does one job on a worker."""
    if not Path(place["folder"]).is_dir():
        error = (
            f"{socket.gethostname()} does not see {place['folder']}; give `running.runs` a folder that all "
            "machines of the cluster share"
        )
        tune.report(
            {"result": asdict(Result(state="failed", host=socket.gethostname(), seconds=0.0, error=error))}
        )
        return
    # Records name the command of the sweep; paths in settings are those of the place where it was started.
    sys.argv = list(place["argv"])
    os.chdir(place["cwd"])
    job = jobs[config["job"]]
    if job.compared is not None:
        ON_EVALUATION.set(
            lambda number, scores: tune.report(
                {"evaluation": number, "score": scores[str(job.metric)], "scores": scores}
            )
        )
    try:
        result = attempt(job.stage)
    except DiskFullError as full:
        # Beginning again would find the disk as full.
        result = Result(state="failed", host=socket.gethostname(), seconds=0.0, error=str(full))
    tune.report({"result": asdict(result)})


def _machines() -> list[tuple[float, float]]:
    """Returns the CPUs and GPUs of each machine of the cluster."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes]


def _share(job: Job, settings: Engine, machines: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Says how many CPUs and GPUs a job takes; what no machine has it would wait for, for ever.

    Raises:
        SettingsError: What was asked for is more than any machine has.
    """
    cpus, gpus = size_of(job.student)
    # On the machine that has most of what it wants, GPUs first.
    most_cpus, most_gpus = max(machines, key=lambda has: (min(gpus, has[1]), min(cpus, has[0])))
    cpus, gpus = min(cpus, most_cpus), min(gpus, most_gpus)
    if settings.trial_cpus is not None:
        cpus = settings.trial_cpus
    if settings.trial_gpus is not None:
        gpus = settings.trial_gpus
    if not any(cpus <= has_cpus and gpus <= has_gpus for has_cpus, has_gpus in machines):
        there = ", ".join(f"{has[0]:g} and {has[1]:g}" for has in sorted(set(machines)))
        raise SettingsError(
            f"`trial_cpus`, `trial_gpus`: expected what one machine has (CPUs and GPUs: {there}), got "
            f"{cpus:g} and {gpus:g}; give less"
        )
    return {"CPU": cpus, "GPU": gpus}


def size_of(student: Student | None) -> tuple[float, float]:
    """Returns the CPUs and the share of a GPU that training a student takes; None: as large as they come."""
    millions = float("inf") if student is None else student.parameters() / 1e6
    return next((cpus, gpus) for most, cpus, gpus in _SIZES if millions <= most)
