"""The base of all our trainers: the loss of a step is the mean over its rows, however they are cut.

Stock BERT heads average over a micro-batch and Trainer takes that for a sum already divided by the
whole step, so loss and gradients grow with the accumulation steps (and uneven micro-batches weigh
wrongly). Here the rows of a step are counted over accumulation steps and processes, and every row
weighs the same: 32x1, 8x4 and two processes of 16 give one trajectory.
"""

import math
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from accelerate.utils import DynamoBackend
from torch import Tensor, nn
from transformers import Trainer

from wellread_hf.errors import NotFiniteError
from wellread_hf.store.signals import signal_heard
from wellread_hf.training.fast_cpu import (
    cheap_dropout,
    clip_gradients,
    freed_memory_kept,
    sparse_word_gradients,
)

# Rows of a step whose rows all weigh nothing: what its loss of 0 is divided by.
LEAST = 1e-6


class RowMeanTrainer(Trainer):
    """A `Trainer` whose subclasses give one loss a row in `row_losses`.

    Args:
        *args: As for `transformers.Trainer`.
        fast_cpu: On a CPU, whether steps are made cheaper (`training/fast_cpu.py`): the same results but for
            other draws of dropout. False leaves a step as torch makes it.
        **kwargs: As for `transformers.Trainer`.
    """

    # compute_loss below divides by the rows of the whole step itself.
    loss_is_scaled_for_ga = True

    def __init__(self, *args: Any, fast_cpu: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fast_cpu = fast_cpu and self.args.device.type == "cpu"
        self._operations: dict[int, int] = {}
        self._asked: Tensor | None = None
        # In an evaluation: losses, weights and parts of the loss [rows], of all processes.
        self._evaluated: dict[str, list[Tensor]] | None = None

    @property
    def asked_to_end(self) -> bool:
        """Whether a signal asks this process, or another of the launch, to end; at a step's end all agree."""
        return signal_heard() is not None if self._asked is None else bool(self._asked > 0)

    @abstractmethod
    def row_losses(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        """Returns the losses [B] of a micro-batch and the model's outputs (a mapping)."""

    def row_weights(self, inputs: Mapping[str, Any], training: bool) -> Tensor:
        """Returns what each row [B] counts in the mean: 1, a factor of its loss, 0 where that is 0 anyway."""
        return torch.ones(len(next(value for value in inputs.values() if torch.is_tensor(value))))

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains as the parent does; with `fast_cpu` with less work for dropout, gradients and memory."""
        # Another model may take the place of the last one.
        self._operations.clear()
        model: Any = self.model
        with ExitStack() as stack:
            if self.fast_cpu:
                stack.enter_context(freed_memory_kept())
                # A compiled model has dropout in its own kernels, and compilers know no sparse gradients.
                if not self._is_compiled:
                    stack.enter_context(cheap_dropout(model))
                    if self._clips_rows and self.args.max_grad_norm > 0:
                        stack.enter_context(sparse_word_gradients(model))
            return super().train(*args, **kwargs)

    @property
    def _is_compiled(self) -> bool:
        # By accelerate (`torch_compile=True` or its own settings), or before it came here.
        model: Any = self.model
        compiled = hasattr(model, "_orig_mod") or getattr(model, "_compiled_call_impl", None) is not None
        return compiled or self.accelerator.state.dynamo_plugin.backend != DynamoBackend.NO

    @property
    def _clips_rows(self) -> bool:
        # Several processes average whole gradients.
        return bool(self.fast_cpu and self.args.world_size == 1)

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        """Clips as the parent does, whose private method this is in transformers 5."""
        if not self._clips_rows:
            return super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]
        return clip_gradients(model.parameters(), self.args.max_grad_norm)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Counts as the parent does, which goes through all modules, once for each size of a batch."""
        if "input_ids" not in inputs:
            return super().floating_point_ops(inputs)
        size = inputs["input_ids"].numel()
        if size not in self._operations:
            self._operations[size] = super().floating_point_ops(inputs)
        return self._operations[size]

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """Collects the micro-batches of a step, and counts its rows as a share of one process."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        # Reduced at every step, so that all processes end with the same one.
        if self.args.world_size > 1:
            asked = torch.tensor(float(signal_heard() is not None), device=device)
            self._asked = self.accelerator.reduce(asked, reduction="mean")
        # A loss of the user's own gets the count that stock Trainer gives it.
        if self.compute_loss_func is not None:
            return batches, items
        return batches, self.count(self.row_weights(batch, training=True) for batch in batches)

    def count(self, weights: Iterable[Tensor]) -> Tensor:
        """Adds up the weights [B] of a step's micro-batches as a share of one process; never 0."""
        rows = torch.zeros((), device=self.args.device)
        for each in weights:
            rows += each.sum().to(rows)
        if self.args.world_size > 1 and self.args.average_tokens_across_devices:
            # Gradients are averaged over processes, so each divides by the mean number of rows.
            rows = self.accelerator.reduce(rows, reduction="mean")
        # A step of rows without labels has loss 0, and must not become 0 / 0.
        return rows.clamp(min=LEAST)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Returns the sum of row losses over the rows of the step; in evaluation their mean.

        A `compute_loss_func` takes the place of all this, as in the parent.

        Raises:
            NotFiniteError: A training loss on a CPU is NaN or infinite. (On a GPU the check would stall every
                step; there `callbacks.FiniteOnly` makes it at every log and save.)
        """
        if self.compute_loss_func is not None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        weights = self.row_weights(inputs, model.training)
        losses, outputs = self.row_losses(model, inputs)
        if model.training:
            # Outside of a training the batch is the whole step.
            rows = num_items_in_batch
            loss = losses.sum() / (weights.sum().clamp(min=LEAST).to(losses) if rows is None else rows)
            # On a GPU the look would stall every step; there the logged losses are looked at.
            if loss.device.type == "cpu" and not torch.isfinite(loss):
                raise not_finite(loss.item(), self.state.global_step + 1)
        else:
            weights = weights.to(losses)
            loss = losses.sum() / weights.sum()
            self.keep_rows(losses=losses, weights=weights)
        return (loss, outputs) if return_outputs else loss

    def keep_rows(self, **values: Tensor) -> None:
        """Keeps values [B] of an evaluation's batch, by name, from all processes."""
        if self._evaluated is not None:
            for name, rows in values.items():
                # Without the rows of other processes that accelerate fills up the last batch with.
                self._evaluated[name].append(self.accelerator.gather_for_metrics(rows.detach()))

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates as the parent does, but with the loss as the mean over all rows, each once.

        The parent averages the batches of all processes, and these are filled up with rows that
        another process has had already.
        """
        self._evaluated = defaultdict(list)
        output = super().evaluation_loop(*args, **kwargs)
        prefix = kwargs.get("metric_key_prefix", "eval")
        kept, self._evaluated = {name: torch.cat(rows) for name, rows in self._evaluated.items()}, None
        if kept and output.metrics is not None:
            total, rows = torch.stack([kept.pop("losses"), kept.pop("weights")], dim=1).sum(dim=0).tolist()
            output.metrics[f"{prefix}_loss"] = total / rows if rows else math.nan
            output.metrics.update({f"{prefix}_{name}": part.mean().item() for name, part in kept.items()})
        return output


def not_finite(loss: float, step: int) -> NotFiniteError:
    """Returns the error for a loss that is NaN or infinite at `step`."""
    return NotFiniteError(
        f"the training loss became {loss} at step {step}; the last good checkpoint is kept: lower "
        "`optim.learning_rate` (or train in fp32) and run again"
    )
