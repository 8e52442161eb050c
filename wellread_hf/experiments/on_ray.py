"""Jobs side by side on Ray: scheduling, lost machines and early stopping are Ray Tune's."""

import logging
import os
import shutil
import signal
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

from wellread_hf.errors import DiskFullError, SettingsError, Terminated
from wellread_hf.experiments.ray_address import no_cluster
from wellread_hf.experiments.scheduler import Engine, Job, OnEnd, Result, attempt
from wellread_hf.experiments.sweep_settings import Engine as EngineSettings
from wellread_hf.store.records import INVOKED_AS
from wellread_hf.students import Student
from wellread_hf.training.callbacks import ON_EVALUATION

# Otherwise Ray counts its uses over the network, takes Ctrl-C for itself, and shows logs of its own.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}
# A job that loses its machine three times is likelier to be the cause than the victim.
_RETRIES = 2
# By parameters of the student, in millions: CPUs, and the share of a GPU that it leaves idle when alone.
_SIZES = ((10, 1, 0.125), (35, 2, 0.25), (80, 4, 0.5), (inf, 4, 1.0))
# ASHA: half of the trials that come to an evaluation go on from it.
_REDUCTION = 2


@contextmanager
def connected(settings: EngineSettings, folder: Path) -> Iterator[Engine]:
    """Joins a Ray cluster, or starts one on this machine, for as long as the context lasts.

    Args:
        settings: Address and resources.
        folder: Of the stage that carries out the jobs; all machines must see it under the same path.

    Raises:
        SourceError: There is no Ray cluster at the address.
    """
    for variable, value in _ENVIRONMENT.items():
        # What the user has set stays.
        os.environ.setdefault(variable, value)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            # None would look for a cluster that was here before, and wait for it.
            address=settings.address or "local",
            include_dashboard=None if settings.address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise no_cluster(settings.address, " ".join(str(error).split())) from error
    # What Ray's own handler makes of a SIGTERM while it starts.
    except SystemExit as ended:
        raise Terminated(signal.SIGTERM) from ended
    finally:
        # Ray installs a handler that ends the program silently.
        signal.signal(signal.SIGTERM, handler)
    # What it logs of lost machines and of each trial is in the results.
    for name in ("ray", "ray.tune", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield lambda jobs, on_end: _run(jobs, on_end, settings, folder)
    finally:
        ray.shutdown()
        # Ray's checkpoints are not used: a retried trial goes on from that of its stage.
        shutil.rmtree(folder / "ray", ignore_errors=True)


def _run(jobs: Sequence[Job], on_end: OnEnd, settings: EngineSettings, folder: Path) -> None:
    # The long ones first: a short one is the last that others wait for.
    jobs = sorted(jobs, key=lambda job: -inf if job.student is None else -job.student.parameters())
    machines = _machines()
    # A stage that shares itself out is a trial for each place that the cluster has for it.
    jobs = [
        job
        for job in jobs
        for _ in range(_places(_share(job, settings, machines), machines) if job.stage.shared else 1)
    ]
    shares = [_share(job, settings, machines) for job in jobs]
    place = {"folder": str(folder.absolute()), "cwd": os.getcwd(), "invoked": INVOKED_AS.get()}
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(_work, jobs=jobs, place=place),
            lambda config: tune.PlacementGroupFactory([shares[config["job"]]]),
        ),
        # A grid over their numbers is how Tune takes a list of jobs.
        param_space={"job": tune.grid_search(list(range(len(jobs))))},
        tune_config=tune.TuneConfig(
            scheduler=AshaByKind(jobs) if settings.asha else None,
            # A worker that has loaded torch goes on to the next job.
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(folder.absolute() / "ray"),
            verbose=0,
            failure_config=tune.FailureConfig(
                max_failures=_RETRIES if settings.retries is None else settings.retries
            ),
            callbacks=[_Results(jobs, on_end)],
        ),
    )
    tuner.fit()


class _Results(tune.Callback):
    """Passes each trial's result to the driver."""

    def __init__(self, jobs: Sequence[Job], on_end: OnEnd) -> None:
        self.jobs, self.on_end = jobs, on_end
        self.left, self.ended = Counter(job.stage.digest for job in jobs), set[str]()

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles it for another driver to restore; ours goes by the stages.
        return {}

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        last = trial.last_result
        if "result" in last:
            result = Result(**last["result"])
        else:
            result = Result(state="stopped", seconds=last["time_total_s"], scores=last["scores"])
        self._end(trial, result)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        why = (str(trial.get_error()).strip().splitlines() or ["no reason was given"])[-1]
        error = f"its worker was lost {trial.num_failures} times: {why}"
        self._end(trial, Result(state="failed", error=error))

    def _end(self, trial: Any, result: Result) -> None:
        """Ends a job once: of trials that share one, with the first that is done, or the last that fails."""
        job = self.jobs[trial.config["job"]]
        digest = job.stage.digest
        self.left[digest] -= 1
        if digest not in self.ended and (result.state == "done" or not self.left[digest]):
            self.ended.add(digest)
            self.on_end(job, result)


class AshaByKind(FIFOScheduler):
    """Stops the poorer half of trials at evaluations 1, 2, 4, ...; each kind of jobs has an ASHA of its own.

    Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2.

    Args:
        jobs: Those of the same `compared` are compared.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kinds = [job.compared for job in jobs]
        self.of_kind: dict[str, Any] = {}

    def on_trial_result(self, controller: Any, trial: Any, result: Any) -> str:
        """Decides whether a trial goes on from an evaluation."""
        kind = self.kinds[trial.config["job"]]
        if kind is None or "score" not in result:
            return str(self.CONTINUE)
        if kind not in self.of_kind:
            self.of_kind[kind] = ASHAScheduler(
                time_attr="evaluation",
                metric="score",
                mode="max",
                # Never reached; each trial comes to its own end.
                max_t=1_000_000,
                reduction_factor=_REDUCTION,
            )
        asha = self.of_kind[kind]
        # Tune adds trials to the one scheduler that it knows, not to these.
        if trial.trial_id not in asha._trial_info:
            asha.on_trial_add(controller, trial)
        return str(asha.on_trial_result(controller, trial, result))


def _work(config: Mapping[str, int], jobs: Sequence[Job], place: Mapping[str, Any]) -> None:
    """Does one job on a worker."""
    if not Path(place["folder"]).is_dir():
        error = (
            f"{socket.gethostname()} does not see {place['folder']}; give `running.runs` a folder that all "
            "machines of the cluster share"
        )
        tune.report({"result": asdict(Result(state="failed", error=error))})
        return
    # Records name the driver's command; paths in settings are relative to where it was started.
    INVOKED_AS.set(tuple(place["invoked"]))
    os.chdir(place["cwd"])
    job = jobs[config["job"]]
    if job.compared is not None:
        ON_EVALUATION.set(
            lambda number, scores: tune.report(
                {"evaluation": number, "score": scores[str(job.metric)], "scores": scores}
            )
        )
    try:
        result = attempt(job)
    except DiskFullError as full:
        # A retry would find the disk as full.
        result = Result(state="failed", error=str(full))
    tune.report({"result": asdict(result)})


def _machines() -> list[tuple[float, float]]:
    """Returns the CPUs and GPUs of each machine of the cluster."""
    # Ray lists lost machines as well.
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes]


def _share(job: Job, settings: EngineSettings, machines: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Returns how many CPUs and GPUs a job takes; for what no machine has, it would wait for ever.

    Raises:
        SettingsError: More was asked for than any machine has.
    """
    cpus, gpus = size_of(job.student)
    # On the machine that has most of what it wants, GPUs first.
    most_cpus, most_gpus = max(machines, key=lambda has: (min(gpus, has[1]), min(cpus, has[0])))
    cpus = min(cpus, most_cpus) if settings.trial_cpus is None else settings.trial_cpus
    gpus = min(gpus, most_gpus) if settings.trial_gpus is None else settings.trial_gpus
    if not any(cpus <= has_cpus and gpus <= has_gpus for has_cpus, has_gpus in machines):
        there = ", ".join(f"{has[0]:g} and {has[1]:g}" for has in sorted(set(machines)))
        raise SettingsError(
            f"`trial_cpus`, `trial_gpus`: expected what one machine has (CPUs and GPUs: {there}), got "
            f"{cpus:g} and {gpus:g}; give less"
        )
    return {"CPU": cpus, "GPU": gpus}


def _places(share: Mapping[str, float], machines: Sequence[tuple[float, float]]) -> int:
    """Returns how many jobs of a share the cluster can do side by side."""
    return sum(
        int(min(has / wants for has, wants in zip(machine, share.values(), strict=True) if wants))
        for machine in machines
    )


def size_of(student: Student | None) -> tuple[float, float]:
    """Returns the CPUs and the share of a GPU that training a student takes; None: as for the largest."""
    millions = inf if student is None else student.parameters() / 1e6
    return next((cpus, gpus) for most, cpus, gpus in _SIZES if millions <= most)
