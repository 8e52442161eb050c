"""Logits of many rows: the same as a row at a time, in batches that a CPU likes."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wellread_hf.models import infer
from wellread_hf.models.encode import EncodedRows
from wellread_hf.models.infer import batches_by_length, logits_in_order, longest_first
from wellread_hf.models.load import new_classifier
from wellread_hf.students import Student


def made(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.random.default_rng(0).integers(1, 90, offsets[-1]).astype(np.int32)
    return EncodedRows(ids, np.zeros_like(ids, dtype=np.int8), offsets, pad_id=0)


def test_on_a_cpu_batches_are_small_and_the_logits_those_of_a_row_at_a_time(monkeypatch):
    model = new_classifier(Student(2, 128), 90, ("a", "b", "c"), seed=0).eval()
    encoded = made(np.random.default_rng(1).integers(3, 67, 300))
    seen = []
    monkeypatch.setattr(infer, "PadCollator", lambda *pad, made=infer.PadCollator: noting(made(*pad), seen))
    found = logits_in_order(model, encoded)
    assert max(seen) <= 2048
    assert len(seen) > 1
    with torch.inference_mode():
        alone = [
            model(
                **{
                    name: torch.from_numpy(values.astype(np.int64))[None]
                    for name, values in encoded.row(row).items()
                }
            ).logits[0]
            for row in range(len(encoded))
        ]
    np.testing.assert_allclose(found, torch.stack(alone).numpy(), atol=1e-5)


def noting(collate, seen):
    def noted(rows):
        batch = collate(rows)
        seen.append(batch["input_ids"].numel())
        return batch

    return noted


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 100), min_size=1, max_size=200).map(np.array),
    most=st.integers(1, 4096),
)
def test_every_row_is_in_one_batch_and_none_is_over_its_tokens_but_for_a_single_row(lengths, most):
    batches = list(batches_by_length(longest_first(lengths), lengths, most))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * lengths[batch].max() <= most for batch in batches)
