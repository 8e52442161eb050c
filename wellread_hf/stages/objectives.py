"""Objectives of distillation: what is refused before anything runs, and which layers are compared."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from wellread_hf.errors import LabelError, SettingsError
from wellread_hf.settings import Lora, Objective
from wellread_hf.stages.inputs import identity_of
from wellread_hf.store.places import fetch
from wellread_hf.store.records import json_object
from wellread_hf.store.stage import Location, Stage
from wellread_hf.students import Shape
from wellread_hf.training.methods import find_method
from wellread_hf.training.methods.layers import check_widths, layer_pairs


def shape_of(model: Location | None) -> Shape | None:
    """Returns a model's shape: by its config, or if a stage is still to make it, by what is known of that.

    Args:
        model: Where it lies, or will.

    Returns:
        None where it is not known.
    """
    if model is None:
        return None
    config = config_of(model)
    if not config:
        return None if model.stage is None else model.stage.shape()
    # DistilBERT has names of its own.
    layers = config.get("num_hidden_layers", config.get("n_layers"))
    width = config.get("hidden_size", config.get("dim"))
    return Shape(layers, width) if isinstance(layers, int) and isinstance(width, int) else None


def config_of(model: Location) -> dict[str, Any]:
    """Returns a model's config.json; empty where there is none that can be read, which loading reports."""
    path = fetch(model, "config.json")
    return {} if path is None else json_object(path)


def teacher_of(labels: Stage) -> Shape | None:
    """Returns the shape of the teacher behind soft labels, where it is known."""
    outcome = labels.record.outcome if labels.state == "done" else {}
    if "teacher_layers" in outcome and "teacher_width" in outcome:
        return Shape(outcome["teacher_layers"], outcome["teacher_width"])
    return labels.shape()


def check_objective(
    objective: Objective, labels: Stage, student: Callable[[], Shape | None], lora: Lora | None
) -> None:
    """Refuses what no training can carry out, before the teacher has read anything.

    Args:
        objective: Any.
        labels: The labelling stage.
        student: Returns the student's shape, where it is known.
        lora: LoRA, if it is wanted.

    Raises:
        UnknownNameError: There is no such method.
        SettingsError: The method has no use for a setting; a projection meets LoRA; or a layer is not there.
        LabelError: The method compares [CLS] states, and the soft labels come without any, without those of
            a layer that is named, or with wider or narrower ones.
    """
    if not find_method(objective).states:
        return
    if objective.projection and lora is not None:
        raise SettingsError(
            "`objective.projection` and `lora_rank` do not go together: peft's checkpoints have no place for "
            "the projection; leave out one of the two"
        )
    if labels.identity["task"].get("tagging"):
        raise SettingsError(
            f"`objective.method` {objective.method} compares [CLS] states of texts, and with `task.tagging` "
            "words are classified; take the method soft-labels"
        )
    stored = labels.identity["settings"].get("states")
    if not stored:
        raise LabelError(
            f"`objective.method` {objective.method} compares the teacher's [CLS] states, and these soft "
            "labels are stored without any; label again with one teacher and its layers named, "
            "e.g. `label.states` 2 4"
        )
    # Pairs that are written out need no depth.
    named = {int(pair.split(":")[1]) for pair in objective.layers if ":" in pair}
    ours, theirs = student(), teacher_of(labels)
    if ours is not None and theirs is not None:
        # A projection maps any width to the teacher's.
        if not objective.projection:
            check_widths(ours.width, theirs.width)
        # What `skip` and `last` name depends on both depths.
        named = {layer for _, layer in layer_pairs(objective.layers, ours.layers, theirs.layers)}
    if missing := sorted(named - set(stored)):
        asked, found, needed = (
            " ".join(map(str, layers)) for layers in (sorted(named), stored, sorted({*stored, *missing}))
        )
        raise LabelError(
            f"`objective.layers` {' '.join(objective.layers)}: expected [CLS] states of the teacher's layers "
            f"{asked}, got those of {found}; label with `label.states` {needed}, or name other pairs"
        )


def resolve_layers(objective: Objective, student: int, store: Path) -> tuple[Objective, tuple[int, ...]]:
    """Writes out an objective's layer map.

    Args:
        objective: Any.
        student: Layers of the student.
        store: Folder of the soft labels, which records the teacher's depth.

    Returns:
        The objective with all pairs, and the teacher's layers among them; of a method that compares no
        states, the objective as it is and no layers.

    Raises:
        SettingsError: A layer is not there.
        LabelError: There are no states.
    """
    if not find_method(objective).states:
        return objective, ()
    from wellread_hf.labelling.soft_labels import stored_states

    stored = stored_states(store)
    if stored is None:
        raise LabelError(
            f"{store}: expected [CLS] states beside the soft labels, found none; label again with "
            "`label.states`"
        )
    pairs = layer_pairs(objective.layers, student, stored.depth)
    named = tuple(f"{ours}:{theirs}" for ours, theirs in pairs)
    return replace(objective, layers=named), tuple(theirs for _, theirs in pairs)


def objective_identity(objective: Objective) -> dict[str, Any]:
    """Says what of an objective decides a result; for soft labels alone what it said before other methods."""
    return identity_of(objective, later=("method", "layers", "states_weight", "projection"))
