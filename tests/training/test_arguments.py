"""Our settings in transformers' words."""

from pathlib import Path

import pytest

from wellread_hf.settings import Optim, Running
from wellread_hf.training.arguments import training_arguments


@pytest.mark.parametrize(
    ("batch", "most", "micro"), [(32, None, 32), (32, 8, 8), (32, 5, 4), (30, 8, 6), (8, 100, 8), (7, 4, 1)]
)
def test_a_batch_is_made_up_of_equal_micro_batches_of_at_most_so_many_rows(
    batch: int, most: int | None, micro: int, tmp_path: Path
) -> None:
    found = training_arguments(
        tmp_path, Optim(batch_size=batch), Running(micro_batch_size=most), steps=1, seed=0, checkpoint_steps=1
    )
    assert (found.per_device_train_batch_size, found.gradient_accumulation_steps) == (micro, batch // micro)
