"""Which studies the named texts and students allow, where no studies are named."""

from wellread_hf.errors import WellreadError
from wellread_hf.experiments.study.catalogue import STUDIES, StudyName
from wellread_hf.experiments.study.given import Given
from wellread_hf.experiments.study.study_settings import StudySettings, option
from wellread_hf.students import Student


def left_out(settings: StudySettings) -> dict[StudyName, str]:
    """Returns the studies that settings do not allow, each with what it lacks."""
    lacking: dict[StudyName, str] = {}
    steps = [] if settings.budget.mlm_steps is not None else [option("mlm_steps")]
    domains = [name for name, named in (("`near`", settings.near), ("`far`", settings.far)) if not named]
    states = [] if settings.label.states else ["`label.states`"]
    if steps and not (settings.deep and settings.mlm_plus):
        lacking["initialisation"] = f"{steps[0]}, or `deep` and `mlm_plus`"
    if settings.weights is not None and (students := _not_given(settings, settings.weights)):
        lacking["depth-width"] = f"`weights` of {' and '.join(students)}"
    if domains:
        lacking["domain"] = " and ".join(domains)
    if steps:
        lacking["compound"] = steps[0]
    if steps or states:
        lacking["concurrent"] = " and ".join([*steps, *states])
    return lacking


def _not_given(settings: StudySettings, weights: str) -> list[str]:
    """Returns the students of the study of depth and width that are not among those given."""
    given = Given(option="`weights`", pattern=weights, running=settings.running)
    missing = []
    for name in dict.fromkeys(arm.student for arm in STUDIES["depth-width"].arms if arm.student):
        try:
            given.like(Student.parse(name))
        except WellreadError:
            missing.append(name)
    return missing
