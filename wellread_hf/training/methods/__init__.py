"""Ways to learn from a teacher, by name: each a module with a function `row_losses`, and a line in `METHODS`.

docs/adding-a-method.md shows how to add one. Nothing here loads torch: plans are checked first.
"""

from dataclasses import dataclass

from wellread_hf.errors import SettingsError, UnknownNameError, nearest
from wellread_hf.settings import Objective


@dataclass(frozen=True, slots=True)
class Method:
    """Where a method is, and what it looks at.

    Attributes:
        module: Module with `row_losses(batch: DistillationBatch, objective: Objective) -> Tensor`, one loss
            a row [B].
        states: It compares [CLS] states of student and teacher, besides logits.
    """

    module: str
    states: bool = False


# Modules as text, so that a plan checks the name without loading torch.
METHODS: dict[str, Method] = {
    "soft-labels": Method("wellread_hf.training.methods.soft_cross_entropy"),
    "patient": Method("wellread_hf.training.methods.patient", states=True),
}

# Settings for methods that compare states alone.
_OF_STATES = ("layers", "states_weight", "projection")


def find_method(objective: Objective) -> Method:
    """Finds an objective's method.

    Raises:
        UnknownNameError: There is none of this name.
        SettingsError: The objective has settings for [CLS] states, and the method compares none.
    """
    if objective.method not in METHODS:
        raise UnknownNameError(
            f"`objective.method`: expected one of {', '.join(METHODS)}, got {objective.method!r}; the "
            f"nearest is {nearest(objective.method, METHODS, count=1)}"
        )
    method, plain = METHODS[objective.method], Objective()
    changed = [name for name in _OF_STATES if getattr(objective, name) != getattr(plain, name)]
    if changed and not method.states:
        comparing = [name for name, known in METHODS.items() if known.states]
        raise SettingsError(
            f"{', '.join(f'`objective.{name}`' for name in changed)} has no effect with the method "
            f"{objective.method}, which compares no [CLS] states; leave it out, or give `objective.method` "
            f"{' or '.join(comparing)}"
        )
    return method
