"""[CLS] states in training: the student's, through a learnt projection if asked for, and the teacher's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wellread_hf.errors import LabelError, SettingsError
from wellread_hf.models.infer import cls_states
from wellread_hf.settings import Objective
from wellread_hf.training.methods.layers import check_widths, layer_pairs, student_layers

STATES = "teacher_states"
# The projection's name in the model, while it is trained as a part of it.
PROJECTION = "states_projection"


class ComparedStates:
    """The states that a method compares.

    Args:
        objective: Layers, and whether a projection is learnt.
        student: The classifier that is taught.
        teacher: A live teacher, if there is one.
        row: A training row with stored `teacher_states`, if there is one.
        seed: All that the projection's first weights depend on.
        device: Where the student is.

    Raises:
        SettingsError: The map names layers that are not there; or a projection cannot be made.
        LabelError: Widths differ, and no projection was asked for; or the row has no states.
    """

    def __init__(
        self,
        objective: Objective,
        student: Any,
        teacher: Any | None,
        row: Any | None,
        seed: int,
        device: torch.device,
    ) -> None:
        depth = student.config.num_hidden_layers
        self.layers: tuple[int, ...] = student_layers(objective.layers, depth)
        self.teacher_layers: tuple[int, ...] = ()
        if teacher is not None:
            pairs = layer_pairs(objective.layers, depth, teacher.config.num_hidden_layers)
            self.teacher_layers = tuple(theirs for _, theirs in pairs)
        self.width: int = student.config.hidden_size
        self.projection: nn.Linear | None = None
        theirs = _width(teacher, row)
        if not objective.projection:
            if theirs is not None:
                check_widths(self.width, theirs)
            return
        if hasattr(student, "peft_config"):
            raise SettingsError(
                "`objective.projection` and LoRA do not go together: peft's checkpoints have no place for "
                "the projection; leave out one of the two"
            )
        if theirs is None:
            raise SettingsError(
                "`objective.projection` needs the width of the teacher's states before the first batch, "
                "which a stream of rows does not show; give rows with a length, or a live `teacher`"
            )
        self.projection = _new_projection(self.width, theirs, seed).to(device)
        self.width = theirs

    def of_student(self, outputs: Any) -> Tensor:
        """Returns the student's states [B, k, H] in fp32, H the teacher's width if there is a projection.

        Args:
            outputs: Of the student; with a projection, of one that it is a `part_of`.
        """
        if self.projection is None:
            return cls_states(outputs, self.layers).float()
        states: Tensor = outputs.hidden_states[0]
        return states

    def of_teacher(self, outputs: Any | None, stored: Tensor | None) -> Tensor:
        """Returns the teacher's states [B, k, H] in fp32: of a live teacher's outputs, or those stored.

        Raises:
            LabelError: They are missing, or of another number of layers or width than the student's.
        """
        if outputs is not None:
            # Rounded as a store rounds them, so that a live teacher gives the losses of its stored states.
            stored = cls_states(outputs, self.teacher_layers).half()
        if stored is None or stored.dim() != 3 or stored.size(1) != len(self.layers):
            found = "none" if stored is None else f"shape {tuple(stored.shape)}"
            raise LabelError(
                f"expected {STATES} of {len(self.layers)} layers for each row of a batch, got {found}; store "
                "those of the map's layers (wellread label `label.states`), and keep the column through "
                "your collator"
            )
        check_widths(self.width, stored.size(2))
        return stored.float()

    @contextmanager
    def part_of(self, model: nn.Module) -> Iterator[None]:
        """While open, the projection is a part of `model`.

        So it has the model's optimizer and lies in its checkpoints, and its gradients are averaged over
        processes; afterwards the model is what it was, and is saved so.
        """
        if self.projection is None:
            yield
            return
        model.add_module(PROJECTION, self.projection)
        # In the model's forward: DDP may take for unused whatever the loss uses beside it.
        hook = model.register_forward_hook(self._project)
        try:
            yield
        finally:
            hook.remove()
            delattr(model, PROJECTION)

    def _project(self, model: nn.Module, _: Any, outputs: Any) -> None:
        """Puts the projected states in the place of the hidden ones."""
        if model.training and self.projection is not None:
            states = cls_states(outputs, self.layers).float()
            outputs.hidden_states = (self.projection(states).float(),)


def _width(teacher: Any | None, row: Any | None) -> int | None:
    """Returns the width of the teacher's states, as far as it is known before the first batch."""
    if teacher is not None:
        return int(teacher.config.hidden_size)
    if row is None:
        return None
    if row.get(STATES) is None:
        raise LabelError(
            f"expected a column {STATES} in the training rows, found {', '.join(row)}; store the teacher's "
            "[CLS] states there (wellread label `label.states`), or give a live `teacher`"
        )
    return int(np.shape(row[STATES])[-1])


def _new_projection(ours: int, theirs: int, seed: int) -> nn.Linear:
    """Makes a linear map without bias, one for all layers (as in Jiao et al. 2020, TinyBERT, eq. 8)."""
    # Without values at first, and with a generator of its own: the run's random state stays what it is.
    projection = nn.Linear(ours, theirs, bias=False, device="meta").to_empty(device="cpu")
    # With this spread the projected states are as large as the student's.
    nn.init.normal_(projection.weight, std=ours**-0.5, generator=torch.Generator().manual_seed(seed))
    return projection
