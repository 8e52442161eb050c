"""Objectives of distillation: what is refused before anything runs, and which layers are compared."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from wellread_hf.errors import LabelError, SettingsError
from wellread_hf.graph import Stage
from wellread_hf.inputs import identity_of
from wellread_hf.locations import Location, fetch
from wellread_hf.settings import Lora, Objective, Start
from wellread_hf.students import Student
from wellread_hf.training.methods import find_method
from wellread_hf.training.methods.layers import Pairs, check_widths, layer_pairs


class Shape(NamedTuple):
    """How many layers a model has, and how wide its states are."""

    layers: int
    width: int

    @classmethod
    def of(cls, student: Student) -> "Shape":
        """Returns the shape of one of the 24."""
        return cls(student.layers, student.hidden)


def shape_of(model: Location | None, option: str) -> Shape | None:
    """Reads a model's shape from its config; None where it is not there yet, or does not say."""
    path = None if model is None else fetch(model, "config.json", option)
    try:
        config = {} if path is None else json.loads(path.read_text())
    except ValueError:
        # Whoever loads the model tells what is wrong with it.
        config = {}
    # DistilBERT has names of its own.
    layers = config.get("num_hidden_layers", config.get("n_layers"))
    width = config.get("hidden_size", config.get("dim"))
    return None if layers is None or width is None else Shape(layers, width)


def check_shapes(objective: Objective, student: Shape, teacher: Shape) -> Pairs:
    """Returns the pairs of layers that are compared.

    Raises:
        SettingsError: A layer is not there.
        LabelError: Widths differ, and no projection was asked for.
    """
    if not objective.projection:
        check_widths(student.width, teacher.width)
    return layer_pairs(objective.layers, student.layers, teacher.layers)


def known_of(teacher: Shape) -> dict[str, int]:
    """Says in a labelling stage's outcome, or before there is one, what shape its teacher has."""
    return {"teacher_layers": teacher.layers, "teacher_width": teacher.width}


def teacher_of(labels: Stage) -> Shape | None:
    """Returns the shape of the teacher behind soft labels, where it is known already."""
    outcome = labels.record.outcome if labels.state == "done" else labels.known
    try:
        return Shape(outcome["teacher_layers"], outcome["teacher_width"])
    except KeyError:
        return None


def check_objective(
    objective: Objective, labels: Stage, start: Start, weights: Location | None, lora: Lora | None
) -> None:
    """Refuses what no training can carry out, before the teacher has read anything.

    Args:
        objective: Any.
        labels: The labelling stage.
        start: The student.
        weights: Where its weights lie, if it has some.
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
    named = {int(pair.split(":")[1]) for pair in objective.layers if ":" in pair}
    teacher, student = teacher_of(labels), shape_of(weights, "--start.weights")
    if start.student is not None:
        student = Shape.of(Student.parse(start.student))
    if student is not None and teacher is not None:
        # What `skip` and `last` name depends on both depths.
        named = {theirs for _, theirs in check_shapes(objective, student, teacher)}
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
