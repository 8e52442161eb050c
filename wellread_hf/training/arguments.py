"""The only place that names the fields of `TrainingArguments`."""

from pathlib import Path

import torch
from accelerate import PartialState
from transformers import TrainingArguments

from wellread_hf.errors import SettingsError
from wellread_hf.settings import Optim, Running

CHECKPOINTS = "checkpoints"
# Enough that a whole one is left when the newest was cut off in the middle, and the best one too.
_CHECKPOINTS_KEPT = 2
# Rows a process evaluates at once: without gradients they need little memory.
_EVALUATED_AT_ONCE = 64


def training_arguments(
    folder: Path,
    optim: Optim,
    running: Running,
    steps: int,
    seed: int,
    checkpoint_steps: int,
    evaluation_steps: int | None = None,
    metric: str | None = None,
) -> TrainingArguments:
    """Puts our settings in transformers' words.

    Args:
        folder: The stage's folder; checkpoints go below it.
        optim: Optimizer settings.
        running: How the run is carried out.
        steps: Optimizer steps of the whole run.
        seed: Seed of dropout.
        checkpoint_steps: Steps between two checkpoints.
        evaluation_steps: Steps between two evaluations; None for none.
        metric: The score whose best checkpoint is kept.

    Raises:
        SettingsError: The batch cannot be shared out over processes and accumulation steps evenly.
    """
    micro, accumulation = _shares(optim.batch_size, running.micro_batch_size)
    arguments = TrainingArguments(
        output_dir=str(folder.absolute() / CHECKPOINTS),
        max_steps=steps,
        per_device_train_batch_size=micro,
        per_device_eval_batch_size=max(_EVALUATED_AT_ONCE, micro),
        gradient_accumulation_steps=accumulation,
        learning_rate=optim.learning_rate,
        lr_scheduler_type=optim.schedule,
        # As a number of steps: `warmup_ratio` is gone from transformers 5.
        warmup_steps=round(optim.warmup * steps),
        weight_decay=optim.weight_decay,
        adam_beta2=optim.beta2,
        adam_epsilon=optim.epsilon,
        max_grad_norm=optim.max_grad_norm,
        bf16=optim.bf16,
        seed=seed,
        # The data set gives the rows of the whole run in order (data/order.py).
        train_sampling_strategy="sequential",
        # By default `teacher_logits` would be gone before the collator sees a row.
        remove_unused_columns=False,
        dataloader_num_workers=running.workers,
        # torch refuses to keep workers where there are none.
        dataloader_persistent_workers=running.workers > 0,
        # Without CUDA torch warns that it cannot.
        dataloader_pin_memory=torch.cuda.is_available(),
        eval_strategy="no" if evaluation_steps is None else "steps",
        eval_steps=evaluation_steps,
        save_strategy="steps",
        save_steps=checkpoint_steps,
        save_total_limit=_CHECKPOINTS_KEPT,
        # Of classifiers the best evaluation is kept, as the release chose on dev; pre-training keeps its
        # last.
        load_best_model_at_end=metric is not None,
        metric_for_best_model=metric,
        greater_is_better=None if metric is None else True,
        # Early stopping goes on counting after a resume.
        restore_callback_states_from_checkpoint=True,
        # Some twenty points of a short run, and of a long one no more than anybody reads.
        logging_steps=max(1, min(50, steps // 20)),
        # A NaN must reach our check, not be replaced by an average.
        logging_nan_inf_filter=False,
        report_to=list(running.report_to),
        # The bar is ours (`callbacks.Progress`).
        disable_tqdm=True,
        # By default Trainer lets DDP search for unused parameters at every step.
        ddp_find_unused_parameters=False,
        # Joins several CPU processes over gloo; without it each would train alone.
        use_cpu=PartialState().device.type == "cpu",
    )
    if arguments.n_gpu > 1:
        # One process drives one GPU; several GPUs go through `accelerate launch`, never DataParallel.
        arguments._n_gpu = 1
    return arguments


def _shares(batch_size: int, most: int | None) -> tuple[int, int]:
    """Returns (rows a process handles at once, accumulation steps) that make up the batch."""
    processes = PartialState().num_processes
    share = batch_size // processes
    if share * processes != batch_size:
        raise SettingsError(
            f"`optim.batch_size`: expected one that {processes} processes share evenly, got {batch_size}; "
            f"choose a multiple of {processes}"
        )
    # A divisor of the share, so that all micro-batches have one size.
    micro = max(rows for rows in range(1, min(share, most or share) + 1) if share % rows == 0)
    return micro, share // micro
