"""What `recipes/study.py` does."""

import json
from collections.abc import Sequence
from functools import lru_cache

from wellread_hf.experiments.study.page import verdict_table
from wellread_hf.experiments.study.planning import Plan
from wellread_hf.experiments.study.running import RESULTS, TABLE, studies_stages
from wellread_hf.experiments.study.settings import ON_TOY, StudySettings, real_text, smoke_study
from wellread_hf.experiments.study.time_left import show_plan
from wellread_hf.experiments.sweep.engine import check_engine
from wellread_hf.store.graph import Stage

__all__ = ["ON_TOY", "StudySettings", "plan", "preview", "ready", "real_text", "show", "smoke_study"]


# Its preview needs the plan again.
@lru_cache(maxsize=1)
def _plan(settings: StudySettings) -> Plan:
    return Plan(settings)


def ready(settings: StudySettings) -> None:
    """Makes sure that the engine is there, before anything is read or trained."""
    check_engine(settings.engine)


def plan(settings: StudySettings) -> list[Stage]:
    """Plans all studies: one stage carries them out, the last."""
    _plan.cache_clear()
    planned = _plan(settings)
    return studies_stages(planned.studies, settings)


def preview(settings: StudySettings, stages: Sequence[Stage]) -> None:
    """Prints each study's arms, what is done, and how long the rest will take."""
    show_plan(_plan(settings), settings)


def show(settings: StudySettings, stages: Sequence[Stage]) -> None:
    """Prints the verdicts of finished studies, and where their pages and pictures lie."""
    stage = stages[-1]
    folders = [stage.folder.parent / name for name in stage.record.outcome["studies"]]
    studies = [json.loads((folder / RESULTS).read_text()) for folder in folders]
    console = verdict_table(studies).show(stage.name)
    for folder in folders:
        console.print(f"study: {folder / TABLE}", highlight=False, soft_wrap=True)
