"""What label words after a prompt come to: their share of the probability, scores, and doubts."""

from collections.abc import Mapping, Sequence
from typing import Any

from wellread_hf.labelling.answers import LITTLE
from wellread_hf.settings import Prompt
from wellread_hf.tasks import TaskFacts

# Of the rows; with more of them the prompt does not work.
_TOO_MANY = 0.5


def mass_of(masses: Any) -> dict[str, float]:
    """Returns the median of the label words' joint probability [rows], and the share of rows below 1 %."""
    import numpy as np

    return {"median": float(np.median(masses)), "below_1_percent": float((masses < LITTLE).mean())}


def validated(facts: TaskFacts, logits: Any, labels: Any, content_free: Any) -> dict[str, Any]:
    """Returns scores and calibration error on validation rows, before contextual calibration as well.

    Args:
        facts: The task's classes and metrics.
        logits: [n, C] of the label words, calibrated if that was asked for.
        labels: [n] true classes.
        content_free: [C] what calibration took off; None where there was none.
    """
    import numpy as np

    from wellread_hf.metrics.calibration import calibration_error, probabilities, reliability
    from wellread_hf.metrics.scores import scores

    def judged(logits: Any) -> dict[str, Any]:
        return {
            "teacher_validation": scores(facts.metrics, logits, labels),
            "teacher_validation_ece": calibration_error(reliability(probabilities(logits), labels)),
        }

    found = {"metric": facts.metrics[0], "teacher_validation_rows": len(labels)} | judged(logits)
    if content_free is not None:
        before = judged(logits + content_free)
        free = np.exp(content_free)
        found["uncalibrated"] = before | {
            "content_free": dict(zip(facts.labels, map(float, free), strict=True))
        }
    return found


def doubts_of(mass: Mapping[str, float], prompt: Prompt) -> Sequence[str]:
    """Returns a warning where label words are hardly ever what the model would say."""
    if mass["below_1_percent"] <= _TOO_MANY:
        return ()
    return [
        f"this prompt does not work: on {100 * mass['below_1_percent']:.0f} % of the rows the label words "
        f"{', '.join(prompt.label_words)} have less than 1 % of the probability together, so that the model "
        "would say something else; end the template where the word should stand, or take words that it would "
        "say"
    ]
