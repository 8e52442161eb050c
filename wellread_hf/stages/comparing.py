"""Objectives of distillation: what is refused before anything runs, and which layers are compared."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from wellread_hf.errors import LabelError, SettingsError
from wellread_hf.graph import Stage
from wellread_hf.inputs import identity_of
from wellread_hf.settings import Lora, Objective
from wellread_hf.training.methods import find_method
from wellread_hf.training.methods.layers import layer_pairs


def check_objective(objective: Objective, labels: Stage, lora: Lora | None) -> None:
    """Refuses what no training can carry out.

    Raises:
        UnknownNameError: There is no such method.
        SettingsError: The method has no use for a setting; or a projection meets LoRA.
        LabelError: The method compares [CLS] states, and the soft labels come without any, or without those
            of a layer that is named.
    """
    if not find_method(objective).states:
        return
    if objective.projection and lora is not None:
        raise SettingsError(
            "--objective.projection and --lora-rank do not go together: peft's checkpoints have no place for "
            "the projection; leave out one of the two"
        )
    stored = labels.identity["settings"].get("states")
    if not stored:
        raise LabelError(
            f"--objective.method {objective.method} compares the teacher's [CLS] states, and these soft "
            "labels are stored without any; label again with one teacher and its layers named, "
            "e.g. --label.states 2 4"
        )
    # Known before the teacher has read anything; what `skip` and `last` name depends on both depths.
    named = {int(pair.split(":")[1]) for pair in objective.layers if ":" in pair}
    if missing := sorted(named - set(stored)):
        asked, found, needed = (
            " ".join(map(str, layers)) for layers in (sorted(named), stored, sorted({*stored, *missing}))
        )
        raise LabelError(
            f"--objective.layers {' '.join(objective.layers)}: expected [CLS] states of the teacher's layers "
            f"{asked}, got those of {found}; label with --label.states {needed} if the teacher is as deep, "
            "or name other pairs"
        )


def resolve_layers(objective: Objective, student: int, store: Path) -> tuple[Objective, tuple[int, ...]]:
    """Writes out an objective's layer map.

    Args:
        objective: Any.
        student: Layers of the student.
        store: Folder of the soft labels, which tells how deep the teacher is.

    Returns:
        The objective with all pairs, and the teacher's layers among them; of a method that compares no
        states, the objective as it is and no layers.

    Raises:
        SettingsError: A layer is not there.
        LabelError: There are no states.
    """
    if not find_method(objective).states:
        return objective, ()
    from wellread_hf.training.soft_labels import stored_states

    stored = stored_states(store)
    if stored is None:
        raise LabelError(
            f"{store}: expected [CLS] states beside the soft labels, found none; label again with "
            "--label.states"
        )
    pairs = layer_pairs(objective.layers, student, stored.depth)
    named = tuple(f"{ours}:{theirs}" for ours, theirs in pairs)
    return replace(objective, layers=named), tuple(theirs for _, theirs in pairs)


def objective_identity(objective: Objective) -> dict[str, Any]:
    """Says what of an objective decides a result; for soft labels alone what it said before other methods."""
    return identity_of(objective, later=("method", "layers", "states_weight", "projection"))
