"""Early stopping of poor trials, each compared with its likes alone."""

from collections.abc import Sequence
from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

from wellread_hf.experiments.sweep.jobs import Job

# Half of the trials that come to an evaluation go on from it.
_REDUCTION = 2


def compare_likes(jobs: Sequence[Job]) -> Any:
    """Makes a scheduler of Ray Tune that stops the poorer half of trials at evaluations 1, 2, 4, ...

    Trials of another student, task or method are never compared: each kind has an ASHA scheduler of its own.

    Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2.
    """

    class CompareLikes(FIFOScheduler):
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.of_kind: dict[str, Any] = {}

        def on_trial_result(self, controller: Any, trial: Any, result: Any) -> str:
            kind = jobs[trial.config["job"]].compared
            if kind is None or "score" not in result:
                return str(self.CONTINUE)
            if kind not in self.of_kind:
                self.of_kind[kind] = ASHAScheduler(
                    time_attr="evaluation",
                    metric="score",
                    mode="max",
                    # No trial ends by it; each comes to its own end.
                    max_t=1_000_000,
                    reduction_factor=_REDUCTION,
                )
            asha = self.of_kind[kind]
            if trial.trial_id not in asha._trial_info:
                asha.on_trial_add(controller, trial)
            return str(asha.on_trial_result(controller, trial, result))

    return CompareLikes()
