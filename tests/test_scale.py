"""The simulation of a cluster: sums by hand, the longest chain, and the page that shows its figures."""

from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.family_jobs import SHARES, Cluster, Work, assumed, jobs_of, measured
from benchmarks.scale import bottlenecks, check, clusters, table, total_of
from benchmarks.simulation import Job, chain, simulate
from wellread_hf.students import HIDDEN, STUDENTS, Student

PAGE = Path(__file__).parents[1] / "docs/scale.md"
SMALL = Work(words=1e6, students=[Student(2, 128), Student(4, 128), Student(2, 256)])


@st.composite
def plans(draw: st.DrawFn) -> list[Job]:
    """Jobs of whole seconds, so that sums are exact; each needs some of those before it."""
    jobs: list[Job] = []
    for number in range(draw(st.integers(1, 9))):
        after = draw(st.lists(st.sampled_from([job.name for job in jobs]), unique=True)) if jobs else []
        seconds, stored = draw(st.integers(1, 20)), draw(st.integers(0, 5))
        jobs.append(Job(name=str(number), on="devices", seconds=seconds, storage=stored, after=after))
    return jobs


@settings(derandomize=True)
@given(plans())
def test_one_device_takes_the_sum_and_unlimited_ones_the_longest_chain(jobs: list[Job]) -> None:
    one = simulate(jobs, {"devices": 1})
    assert one.total == sum(job.seconds + job.storage for job in jobs)
    many = simulate(jobs, {"devices": inf, "storage": inf})
    assert many.total == sum(job.seconds + job.storage for job in chain(jobs))
    for number in (2, 3):
        some = simulate(jobs, {"devices": number, "storage": inf})
        assert many.total <= some.total <= one.total
        # A device that is free takes what waits (Graham 1966).
        assert some.total <= one.total / number + many.total
    for job in jobs:
        assert all(many.ends[need] <= many.ends[job.name] - job.seconds for need in job.after)


def test_the_shared_folder_serves_one_after_another() -> None:
    jobs = [Job(name=str(number), on="devices", seconds=10, storage=3) for number in range(4)]
    found = simulate(jobs, {"devices": 4})
    assert (found.total, found.busy["storage"], found.busy["devices"]) == (22, 12, 40)


def test_a_job_of_several_devices_waits_for_all_of_them() -> None:
    jobs = [
        Job(name="small", on="devices", seconds=5),
        Job(name="large", on="devices", seconds=10, slots=2),
        Job(name="next", on="devices", seconds=1),
    ]
    assert simulate(jobs, {"devices": 2}).ends == {"small": 5, "large": 15, "next": 16}


def test_one_machine_takes_the_sum_of_all_work() -> None:
    rates, _, _ = measured()
    cluster = Cluster(name="one", rates=rates, in_levels=False)
    jobs = jobs_of(SMALL, cluster)
    held = sum(job.seconds + job.storage for job in jobs if job.on == "devices")
    first = sum(job.seconds + job.storage for job in jobs if job.on == "machines")
    last = min(job.seconds for job in jobs if job.on == "uplink")
    found = total_of(SMALL, cluster).total
    # Labelling needs no packing and may run beside it; pushes of all but the last run beside training.
    assert held + last <= found <= first + held + sum(job.seconds for job in jobs if job.on == "uplink")


def test_levels_cost_time_and_nothing_else() -> None:
    rates, _, _ = measured()
    cluster = Cluster(name="three", rates=rates, devices=3)
    free = replace(cluster, in_levels=False)
    assert total_of(SMALL, free).total <= total_of(SMALL, cluster).total
    assert total_of(SMALL, free).busy == pytest.approx(total_of(SMALL, cluster).busy)


def test_the_bottleneck_is_what_there_is_least_of() -> None:
    rates, _, _ = measured()
    one = Cluster(name="one device", rates=rates)
    assert bottlenecks(SMALL, one)[0].startswith("devices")
    slow = replace(one, devices=inf, storage=1e4)
    assert bottlenecks(SMALL, slow)[0].startswith("the shared folder")
    alone = Work(words=1e9, students=[Student(12, 768)])
    assert bottlenecks(alone, replace(one, devices=inf)) == ["the longest chain (pretrain bert-12-768)", ""]


def test_a_gpu_that_was_not_measured_is_marked() -> None:
    assert set(SHARES) == set(HIDDEN)
    rates = assumed(1e15)
    assert rates.device == "assumed GPU, 1000 TFLOP/s"
    assert not rates.timed
    for student in STUDENTS:
        speed = rates.operations_per_second(student)
        assert speed == pytest.approx(SHARES[student.hidden] * 1e15, rel=1e-9)


def test_measured_students_keep_their_rates() -> None:
    rates, text, share = measured()
    assert rates.timed >= {"bert-2-128", "bert-12-768"}
    ordered = [rates.tokens_per_second[student.name] for student in STUDENTS if student.hidden == 256]
    assert ordered == sorted(ordered, reverse=True)
    assert text > 0
    assert 0 < share < 2


def test_the_page_has_the_figures_of_the_simulation() -> None:
    shown = table(Work(), clusters()).markdown
    assert shown in PAGE.read_text(encoding="utf-8"), (
        f"the rates have changed; docs/scale.md has to show:\n{shown}"
    )


@pytest.mark.long
def test_two_students_take_the_time_that_was_predicted(tmp_path: Path) -> None:
    (training, *_) = check(tmp_path).rows
    predicted, took = map(float, training[1:3])
    # Other work on the machine comes and goes between the measurement and the training.
    assert predicted == pytest.approx(took, rel=0.5)
