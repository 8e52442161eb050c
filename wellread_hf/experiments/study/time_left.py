"""What is left to do of studies, and how long it will take, going by what was measured."""

from collections import Counter
from collections.abc import Sequence
from statistics import median

from rich.console import Console

from wellread_hf.experiments.study.planning import Plan
from wellread_hf.experiments.study.results import lacking_for
from wellread_hf.experiments.study.settings import StudySettings
from wellread_hf.store.graph import Stage, in_order

# What is alike for all seeds; labelling takes as long as its teacher and text want, the rest is seconds.
_TIMED = ("pretrain", "finetune", "distill")


def show_plan(plan: Plan, settings: StudySettings) -> None:
    """Prints arms, what is done, what cannot be decided, the time left, and studies that are left out."""
    console = Console()
    lines = [""]
    for each in plan.studies:
        states = Counter(stage.state for stage in in_order(each.stages))
        told = ", ".join(f"{state} {count}" for state, count in states.items())
        lines.append(f"{each.name}: {len(each.study.arms)} arms, {len(each.runs)} runs; stages: {told}")
        lines += [f"  {arm.name}" for arm in each.study.arms]
        lacking = {
            finding.text: lacking_for(finding, each.study, settings) for finding in each.study.findings
        }
        lines += [f"  not decidable, with {why}: {text}" for text, why in lacking.items() if why]
    lines.append(f"time: {estimate(in_order([stage for each in plan.studies for stage in each.stages]))}")
    lines += [f"left out: {name}, which needs {lacking}" for name, lacking in plan.left_out.items()]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def estimate(stages: Sequence[Stage]) -> str:
    """Says how long the stages left will take, one after another, by finished ones of their kind and size."""
    unfinished = [stage for stage in stages if stage.state != "done"]
    labelling = sum(stage.kind == "label" for stage in unfinished)
    besides = f"; transfer sets to label: {labelling}" if labelling else ""
    left = [stage for stage in unfinished if stage.kind in _TIMED]
    if not left:
        return f"nothing is left to train{besides}"
    seconds: dict[str, list[float]] = {}
    for stage in stages:
        if stage.state == "done" and stage.kind in _TIMED:
            seconds.setdefault(_like(stage), []).append(stage.record.seconds)
    known = [median(seconds[_like(stage)]) for stage in left if _like(stage) in seconds]
    unknown = len(left) - len(known)
    if not known:
        told = f"not known for any of the {len(left)} stages left to train; it is when one of each is done"
    else:
        told = f"about {sum(known) / 60:.0f} min one after another for {len(known)} stages left to train"
        told += f", not known for {unknown} more" if unknown else ""
    return told + besides


def _like(stage: Stage) -> str:
    """Names the stages that take as long: kind and model, without the seed."""
    return f"{stage.kind} {stage.name.rpartition('-seed')[0]}"
