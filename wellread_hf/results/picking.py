"""The best student under a budget: a decision from records alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from wellread_hf.errors import NothingFitsError, SettingsError, StoreError, listed
from wellread_hf.metrics.jackknife import Interval
from wellread_hf.metrics.scores import metric_at
from wellread_hf.results.candidates import EVIDENCE, Candidate, Offer, read_offer
from wellread_hf.results.lineage import Stages
from wellread_hf.results.tables import Table
from wellread_hf.settings import Picking
from wellread_hf.stages.budgeting import excess
from wellread_hf.stages.timed import EXPORTED
from wellread_hf.store.stage import Stage

# A point of the score counts like this share of a budget where the nearest to all limits is looked for.
_POINT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """What was picked, and why nothing else."""

    offer: Offer
    picking: Picking
    picked: Candidate
    larger: tuple[Candidate, str] | None  # the next larger file of the same format, and why not that one
    smaller: tuple[Candidate, str] | None

    @property
    def facts(self) -> dict[str, Any]:
        """The pick as JSON."""
        best = self.picked.best
        beside = {"larger": self.larger, "smaller": self.smaller}
        return {
            "task": self.offer.task,
            "metric": self.offer.metric,
            "asked": asdict(self.picking),
            **_facts(self.picked),
            "fingerprint": best.fingerprint,
            "folder": None if best.folder is None else str(best.folder),
            "export": None if best.export is None else str(best.export),
            "machines": self.offer.machines,
            **{name: found and _facts(found[0]) | {"because": found[1]} for name, found in beside.items()},
        }

    def show(self) -> None:
        """Prints the candidates and the decision."""
        table(self.offer, self.picking, self.picked).show(f"students of {self.offer.task}")
        best = self.picked.best
        seeds = len(self.picked.members)
        print(f"\npick: {said(self.facts)}")
        print(
            f"  use {best.export or best.folder or best.fingerprint}"
            + (
                f" (seed {best.seed}, the best of {seeds} on these rows: {best.scored[0]:.1f})"
                if seeds > 1
                else " (one seed: how seeds differ is not known)"
            )
        )
        for name, found in (("larger", self.larger), ("smaller", self.smaller)):
            if found is not None:
                print(f"  next {name}, {found[0].title} ({_costs(found[0].ms, found[0].mb)}): {found[1]}")
        if self.offer.machines and self.picked.ms is not None:
            print(f"  milliseconds were measured on {listed(self.offer.machines)}")


def _facts(of: Candidate) -> dict[str, Any]:
    return {
        "name": of.name,
        "method": of.method,
        "format": of.format,
        "seeds": [member.seed for member in of.members],
        "ms": of.ms,
        "mb": of.mb,
        "score": asdict(of.score),
        "beside_teacher": None if of.gap is None else asdict(of.gap),
    }


def choose(offer: Offer, picking: Picking) -> Pick:
    """Picks the student that keeps to all limits.

    Under a budget (milliseconds, megabytes) the highest lower end of the score's 95 % interval over seeds
    and rows decides. Where the score alone is asked for, the cheapest is picked: by milliseconds where all
    were measured, else by megabytes.

    Raises:
        NothingFitsError: None does; the message names the nearest.
        SettingsError: Nothing is asked for.
        StoreError: What was asked for was not measured of any student.
    """
    if not picking.asked:
        raise SettingsError(
            "expected a limit to pick by: give one or more of `max_ms`, `max_mb`, `min_score`, `within`"
        )
    check_known(offer, picking)
    fitting = [each for each in offer.students if not over(each, picking)]
    if not fitting:
        nearest = min(offer.students, key=lambda each: (sum(over(each, picking).values()), _size(each)))
        raise NothingFitsError(
            f"nothing fits {picking.asked}: the nearest of {len(offer.students)} candidates is "
            f"{nearest.title} with {_costs(nearest.ms, nearest.mb)}, {metric_at(offer.metric)} "
            f"{nearest.score.mean:.1f} ({bounds(nearest.score)}); {why_not(nearest, picking)}"
        )
    picked = min(fitting, key=_order(fitting, picking))
    alike = sorted((each for each in offer.students if each.format == picked.format), key=_size)
    place = alike.index(picked)

    def beside(number: int) -> tuple[Candidate, str] | None:
        if not 0 <= number < len(alike):
            return None
        return alike[number], why_not(alike[number], picking, picked)

    return Pick(
        offer=offer, picking=picking, picked=picked, larger=beside(place + 1), smaller=beside(place - 1)
    )


def _order(fitting: Sequence[Candidate], picking: Picking) -> Callable[[Candidate], Any]:
    budget = picking.max_ms is not None or picking.max_mb is not None
    by_ms = picking.max_ms is not None or all(each.ms is not None for each in fitting)

    def key(each: Candidate) -> Any:
        costs = (each.ms, each.mb) if by_ms else (each.mb, each.ms)
        known = tuple(inf if cost is None else cost for cost in costs)
        lower = -each.score.low
        return (lower, *known, each.title) if budget else (*known, lower, each.title)

    return key


def over(each: Candidate, picking: Picking) -> dict[str, float]:
    """Returns the limits that a candidate is over, by name, and how far as a share of the limit.

    A point of the score counts as a tenth. What is not known is over without end.
    """
    costs = {"max_ms": excess(each.ms, picking.max_ms), "max_mb": excess(each.mb, picking.max_mb)}
    found = {name: share for name, share in costs.items() if share > 0}
    if picking.min_score is not None and each.score.low < picking.min_score:
        found["min_score"] = _POINT * (picking.min_score - each.score.low)
    if picking.within is not None and (each.gap is None or each.gap.low < -picking.within):
        found["within"] = inf if each.gap is None else _POINT * (-picking.within - each.gap.low)
    return found


def why_not(each: Candidate, picking: Picking, picked: Candidate | None = None) -> str:
    """Says in words what a candidate is over, or why another one that fits was picked."""
    words = {
        "max_ms": "it was not measured" if each.ms is None else f"{each.ms:.2f} ms, over `max_ms`",
        "max_mb": "its size is not known" if each.mb is None else f"{each.mb:.1f} MB, over `max_mb`",
        "min_score": f"the lower end of its score, {each.score.low:.1f}, is below `min_score`",
        "within": "the teacher was not evaluated"
        if each.gap is None
        else f"it may lose {-each.gap.low:.1f} points to the teacher, more than `within`",
    }
    found = [words[name] for name in over(each, picking)]
    if found or picked is None:
        return ", and ".join(found)
    if picking.max_ms is None and picking.max_mb is None:
        return "it fits, and costs more"
    return f"it fits, and the lower end of its score is {each.score.low:.2f}, not {picked.score.low:.2f}"


def check_known(offer: Offer, picking: Picking) -> None:
    """Refuses limits on what was measured of no student."""
    if not offer.students:
        raise StoreError("expected evaluated students, found the teacher alone; run `wellread eval STUDENTS`")
    if picking.max_ms is not None and all(each.ms is None for each in offer.students):
        raise StoreError(
            f"`max_ms`: expected milliseconds at {picking.length} tokens with {picking.threads} thread(s), "
            "found none that are steady; run `wellread measure` with the students"
        )
    if picking.max_mb is not None and all(each.mb is None for each in offer.students):
        raise StoreError("`max_mb`: no student's size is known; run `wellread export` with the students")
    if picking.within is not None and not offer.teachers:
        raise StoreError(
            "`within`: the teacher of these students was not evaluated; run `wellread eval TEACHER` into "
            "the same folder of runs"
        )


def table(offer: Offer, picking: Picking, picked: Candidate | None) -> Table:
    """Tables all candidates by size; the pick is bold."""
    score = f"{metric_at(offer.metric)} (%)"
    head = ["student", "method", "format", "seeds", "ms", "MB", score, "95 % interval",
            "beside the teacher", "over"]  # fmt: skip
    rows = [
        [
            f"**{each.name}**" if each is picked else each.name,
            each.method,
            each.format,
            len(each.members),
            None if each.ms is None else f"{each.ms:.2f}",
            None if each.mb is None else f"{each.mb:.2f}",
            f"{each.score.mean:.1f}",
            bounds(each.score),
            None if each.gap is None else f"{each.gap.mean:+.1f}",
            ", ".join(over(each, picking)) if each in offer.students else None,
        ]
        for each in sorted([*offer.students, *offer.teachers], key=_size)
    ]
    notes = []
    if any(len(each.members) == 1 for each in offer.students):
        notes.append("one seed: the interval is over rows alone, so it is too narrow")
    return Table(head, rows, notes)


def pick_stage(evidence: Sequence[Stage], picking: Picking, root: Path) -> Stage:
    """Builds the stage that picks an export, from evaluations, exports and measurements.

    The outcome is `Pick.facts`: `folder`, `export`, `format` and `fingerprint` of the model to use, its
    score, cost and gap to the teacher, and why neither the next larger nor the next smaller.

    Args:
        evidence: Stages of these kinds; the candidates.
        picking: What is asked for.
        root: Folder of all stages.
    """

    def work(stage: Stage) -> Mapping[str, Any]:
        only = {each.digest for each in evidence if each.kind in EVIDENCE}
        offer = read_offer(Stages.read(root), picking, only)
        exported = [each for each in offer.students if each.format in EXPORTED]
        return choose(replace(offer, students=exported), picking).facts

    return Stage(
        kind="pick",
        name=picking.task or "students",
        root=root,
        identity={"picking": asdict(picking), "from": [each.digest for each in evidence]},
        inputs=evidence,
        work=work,
        solo=True,
    )


def _size(each: Candidate) -> tuple[float, float, str]:
    return inf if each.mb is None else each.mb, inf if each.ms is None else each.ms, each.title


def said(facts: Mapping[str, Any]) -> str:
    """Says in words what was picked, of `Pick.facts`: its cost, its score, and that beside the teacher's."""
    score, gap = Interval(**facts["score"]), facts["beside_teacher"]
    words = (
        f"{facts['name']}, {facts['method']}, {facts['format']}: {_costs(facts['ms'], facts['mb'])}, "
        f"{metric_at(facts['metric'])} {score.mean:.1f} ({bounds(score)}, 95 %)"
    )
    if gap is None:
        return words
    beside = Interval(**gap)
    return f"{words}; beside the teacher on the same rows {beside.mean:+.1f} points ({bounds(beside, '+')})"


def bounds(of: Interval, sign: str = "") -> str:
    """Writes the ends of an interval; with the sign `+`, those of a difference."""
    return f"{of.low:{sign}.1f} to {of.high:{sign}.1f}"


def _costs(ms: float | None, mb: float | None) -> str:
    found = [f"{cost:.2f} {unit}" for cost, unit in ((ms, "ms"), (mb, "MB")) if cost is not None]
    return ", ".join(found) or "cost not known"
