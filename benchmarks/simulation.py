"""Jobs that need each other and share resources, carried out in simulated time."""

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache


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
