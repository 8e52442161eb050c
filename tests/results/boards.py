"""Folders as scoreboards and sweeps leave them, of made-up scores, without the hours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wellread_hf.results.scoreboard import scoreboard
from wellread_hf.results.trials import Trial, write_plan, write_trial
from wellread_hf.store.graph import carry_out
from wellread_hf.store.records import StageRecord
from wellread_hf.store.stage import Stage
from wellread_hf.students import Student
from wellread_hf.tasks import sets_of


def trained(
    root: Path, student: str, method: str, task: str, rate: float, batch: int, seed: int, lora: int | None
) -> Stage:
    kind = "finetune" if method in ("basic", "pf") else "distill"
    optim = {"learning_rate": rate, "batch_size": batch}
    identity: dict[str, Any] = {"task": {"name": task}, "tuning": {"optim": optim, "seed": seed}}
    # No setting of a real stage says them; there the weights do.
    identity |= {"student": Student.parse(student).name, "method": method}
    if lora is not None:
        identity["lora"] = {"rank": lora}
    return Stage(kind=kind, name=f"x-{task}-seed{seed}", root=root, identity=identity, work=lambda stage: {})


def predicted(model: Stage, task: str, dev: Mapping[str, Mapping[str, float]]) -> Stage:
    return Stage(
        kind="predict",
        name=model.name,
        root=model.root,
        identity={"model": f"stage:{model.digest}:."},
        inputs=[model],
        work=lambda stage: {"task": task, "dev": dev},
    )


def dev_scores(task: str, score: float) -> dict[str, dict[str, float]]:
    """Every set of the task has this score; further metrics are a tenth less."""
    return {
        name: {metric: score - 0.1 * number for number, metric in enumerate(rows.metrics)}
        for name, rows in sets_of(task).items()
        if rows.dev is not None
    }


def board(
    root: Path,
    scores: Mapping[str, Sequence[float]],
    student: str = "2-128",
    method: str = "pf",
    rate: float = 3e-4,
    batch: int = 32,
    from_mnli: Sequence[str] = (),
    lora: int | None = None,
) -> Path:
    """Carries out a scoreboard over stages that do nothing; `scores` by task, one a seed."""
    runs = {
        task: [
            predicted(
                trained(root, student, method, task, rate, batch, seed, lora), task, dev_scores(task, score)
            )
            for seed, score in enumerate(values)
        ]
        for task, values in scores.items()
    }
    seeds = list(range(len(next(iter(scores.values())))))
    about: dict[str, Any] = {
        "student": student,
        "method": method,
        "seeds": seeds,
        "from_mnli": list(from_mnli),
    }
    checks = Stage(kind="check", name="glue", root=root, identity={}, work=lambda stage: {})
    stage = scoreboard(f"{student}-{method}", runs, about, checks, root)
    carry_out([stage])
    return stage.folder


def trials_of(
    task: str,
    points: Mapping[tuple[float, int], Sequence[float | str]],
    student: str,
    method: str,
    lora: int | None = None,
) -> list[Trial]:
    """Trials by (learning rate, batch): a score a seed, or `failed` or `stopped`."""
    rows = []
    for (rate, batch), values in points.items():
        for seed, value in enumerate(values):
            done = not isinstance(value, str)
            stage = trained(Path(), student, method, task, rate, batch, seed, lora)
            row = Trial(
                digest=stage.digest,
                folder=stage.folder.name,
                student=student,
                task=task,
                method=method,
                learning_rate=rate,
                batch_size=batch,
                seed=seed,
                state="done" if done else str(value),  # type: ignore[arg-type]
                scores=dev_scores(task, float(value))[task] if done else {},
                seconds=1.0,
                error=None if done else "it went wrong",
                settings=stage.identity,
            )
            rows.append(row)
    return rows


def sweep(root: Path, *trials: Trial, name: str = "x") -> Path:
    """A sweep that is under way: a plan and trials that have ended, and no record."""
    folder = root / f"sweep-{name}-0123456789ab"
    folder.mkdir(parents=True)
    write_plan(folder, trials)
    for trial in trials:
        if trial.state == "done":
            done(root, trial)
        write_trial(folder, trial)
    return folder


def done(root: Path, trial: Trial) -> None:
    """Leaves the record of a trial's training."""
    outcome = {"validation": trial.scores, "seconds_training": trial.seconds}
    (root / trial.folder).mkdir(exist_ok=True)
    StageRecord(
        kind="finetune", name="x", digest=trial.digest, settings=trial.settings, inputs={}, outcome=outcome,
        seconds=1.0, versions={}, command="",
    ).write(root / trial.folder)  # fmt: skip
