"""A classifier of texts or of words as a teacher: logits of its classes, and [CLS] states if asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.labelling.shards import Arrays
from wellread_hf.labelling.soft_labels import Texts, arrays_of
from wellread_hf.models.encode import EncodedRows, RowEncoder, encode, report_cut
from wellread_hf.models.infer import logits_and_states_of
from wellread_hf.settings import Label


class ClassifierLabeller:
    """A `label_rows.Labeller`.

    Args:
        teacher: A classifier, on its device.
        encoder: How it reads texts.
        order: For each class of the task, the teacher's output (`teacher_classes.teacher_order`).
        settings: Tokens a batch, and layers whose states are stored.
    """

    def __init__(self, teacher: Any, encoder: RowEncoder, order: Sequence[int], settings: Label) -> None:
        self.teacher, self.encoder, self.order, self.settings = teacher, encoder, list(order), settings
        self._reported = False

    def encode(self, texts: Texts, before: int) -> EncodedRows:
        """Tokenises rows, and logs once that rows are cut."""
        encoded = encode(texts, self.encoder, before)
        if encoded.cut and not self._reported:
            report_cut(encoded, self.encoder, "transfer")
            self._reported = True
        return encoded

    def label(self, encoded: EncodedRows, rows: npt.NDArray[np.int64], shown: Any) -> Arrays:
        """Returns `logits` [n, C] in fp32 and, if asked for, `states` [n, k, H] in fp16 with their layers.

        Of a teacher that classifies words, the arrays of `soft_labels.arrays_of`.
        """
        layers = self.settings.states
        logits, states = logits_and_states_of(
            self.teacher, encoded, rows, self.settings.batch_tokens, shown, layers
        )
        arrays = arrays_of(logits[:, self.order])
        if states is not None:
            # Layer maps such as `skip` depend on the teacher's depth.
            depth = np.array([np.int64(self.teacher.config.num_hidden_layers)])
            arrays |= {"states": states, "layers": np.array(layers), "depth": depth}
        return arrays

    def fits(self, shard: Arrays) -> bool:
        """Returns whether a shard has the states of the layers that are asked for."""
        return np.array_equal(shard.get("layers", np.array([])), np.array(self.settings.states))
