"""Which studies the named texts and students allow, where no studies are named."""

from wellread_hf.inputs import TASK
from wellread_hf.study.catalogue import StudyName
from wellread_hf.study.settings import StudySettings, option


def left_out(settings: StudySettings) -> dict[StudyName, str]:
    """Returns the studies that settings do not allow, each with what it lacks."""
    lacking: dict[StudyName, str] = {}
    reading, weights = settings.budget.mlm_steps is not None, settings.weights
    steps = option("mlm_steps")
    if not (reading or (settings.deep and settings.mlm_plus)):
        lacking["initialisation"] = f"{steps}, or --deep and --mlm-plus"
    if weights is not None and "{" not in weights:
        lacking["depth-width"] = "--weights of every size, with {student} in its name"
    if not (settings.near and settings.far):
        lacking["domain"] = "--near and --far"
    if TASK in settings.transfer or not reading:
        lacking["compound"] = f"{steps}, and --transfer without {TASK}"
    if not reading or not settings.label.states:
        lacking["concurrent"] = f"{steps} and --label.states"
    return lacking
