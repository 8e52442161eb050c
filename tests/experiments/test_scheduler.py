"""The order of jobs, what becomes of failures, and the time that is left."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from wellread_hf.errors import DiskFullError, SettingsError
from wellread_hf.experiments.scheduler import Job, Result, in_this_process, levels, run, time_left
from wellread_hf.store.stage import Stage, in_order

Work = Callable[[Stage], Mapping[str, Any]]


def _stage(
    root: Path, name: str, after: Sequence[Stage] = (), work: Work = lambda stage: {}, kind: str = "x"
) -> Stage:
    identity = {"name": name, "after": [stage.digest for stage in after]}
    return Stage(kind=kind, name=name, root=root, identity=identity, inputs=after, work=work)


def _fails(error: Exception) -> Work:
    def work(stage: Stage) -> Mapping[str, Any]:
        (stage.folder / "half.txt").touch()
        raise error

    return work


def test_levels_put_every_need_before_its_user_and_keep_the_order(tmp_path: Path) -> None:
    text = _stage(tmp_path, "text")
    encoders = [_stage(tmp_path, f"encoder{i}", [text]) for i in range(3)]
    trials = [_stage(tmp_path, f"trial{i}", [encoders[i % 3], encoders[0]]) for i in range(6)]
    # Done before, so not among the jobs.
    alone = _stage(tmp_path, "alone", [_stage(tmp_path, "elsewhere")])
    jobs = [Job(stage=stage) for stage in [*in_order(trials), alone]]
    found = [[job.stage.name for job in level] for level in levels(jobs)]
    assert found == [
        ["text", "alone"],
        ["encoder0", "encoder1", "encoder2"],
        [f"trial{i}" for i in range(6)],
    ]


def test_a_failure_is_a_result_and_what_needs_it_fails_with_it(tmp_path: Path) -> None:
    refused = _stage(tmp_path, "refused", work=_fails(SettingsError("`start.weights` X:\n no")))
    broken = _stage(tmp_path, "broken", work=_fails(MemoryError("cannot allocate\nso much")))
    good = _stage(tmp_path, "good")
    user = _stage(tmp_path, "user", [good, refused])
    names = {"start.weights": "deep"}
    jobs = [Job(stage=stage, names=names) for stage in (refused, broken, good, user)]
    seen: list[tuple[str, Result]] = []

    def on_end(job: Job, result: Result) -> None:
        seen.append((job.stage.name, result))

    for _ in range(2):
        seen.clear()
        failed = run(jobs, in_this_process, on_end)
        assert {name: result.error for name, result in seen} == {
            "refused": "`deep` X: no",
            "broken": "MemoryError: cannot allocate so much",
            "good": None,
            "user": f"it needs {refused.folder.name}, which did not finish",
        }
        assert set(failed) == {refused.digest, broken.digest, user.digest}
        assert failed[refused.digest] == f"{refused.folder.name}: `deep` X: no"
    # A fault leaves its traceback, which a later success removes.
    assert (broken.folder / "error.txt").read_text().startswith("Traceback")
    repaired = _stage(tmp_path, "broken")
    assert run([Job(stage=repaired)], in_this_process, on_end) == {}
    assert not (repaired.folder / "error.txt").exists()


def test_a_full_disk_ends_all(tmp_path: Path) -> None:
    full = _stage(tmp_path, "full", work=_fails(DiskFullError("the disk is full")))
    with pytest.raises(DiskFullError):
        run([Job(stage=full), Job(stage=_stage(tmp_path, "next"))], in_this_process, lambda job, result: None)


def test_time_left_is_judged_by_the_nearest_jobs_that_are_done(tmp_path: Path) -> None:
    def job(name: str, *alike: str, work: float = 1.0, kind: str = "x") -> Job:
        return Job(stage=_stage(tmp_path, name, kind=kind), alike=alike, work=work)

    measured, near, far = job("done", "a", "all"), job("near", "a", "all"), job("far", "b", "all", work=100.0)
    other = job("other", kind="label")
    assert time_left([near, other]).startswith("not known until one of a kind is done (x 1, label 1)")
    run([measured], in_this_process, lambda job, result: None)
    seconds = measured.stage.record.seconds
    assert time_left([measured]) == "nothing is left to do"
    assert time_left([measured, near]) == f"about {seconds:.0f} s for 1 stages left, one after another"
    assert time_left([measured, near, far, other]) == (
        f"about {101 * seconds:.0f} s for 2 stages left, one after another; 1 of them scaled from others by "
        "size and rows; not known for label 1"
    )
    assert time_left([measured, near], stopped=[near.stage.digest]) == "nothing is left to do"
