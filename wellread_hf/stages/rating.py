"""How fast this machine pre-trains: a few sizes are timed, the others follow from these."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from wellread_hf.serving.machine import machine
from wellread_hf.settings import Pretrain, Running
from wellread_hf.stages.budgeting import cost, made_up_tokenizer, with_bar
from wellread_hf.stages.timed import kept
from wellread_hf.store.stage import Stage
from wellread_hf.students import LAYERS, VOCABULARY, Student

# Of steps, for each size.
_SECONDS = 2.0
# A step of more operations takes a CPU longer than anybody waits for a plan.
_MOST_OPERATIONS = 2e11


def rate(
    students: Sequence[Student], settings: Pretrain, running: Running, vocabulary: int = VOCABULARY
) -> Stage:
    """Measures how many tokens a second students are pre-trained with on this machine, by the trainer itself.

    Of each width the shallowest size and the deepest that takes seconds a step are timed. The outcome has
    `device`, `machine`, `block_length`, `batch_size`, `seconds_a_step` of what was timed, and
    `tokens_per_second` of all depths of these widths, predicted as a budget's are.

    Args:
        students: Whose widths are measured.
        settings: The batch, the first phase's blocks, and the optimizer.
        running: Where it goes.
        vocabulary: Words of the tokenizer.
    """
    here, length, batch = machine(), settings.block_lengths[0], settings.optim.batch_size
    widths = sorted({student.hidden for student in students})

    def work(stage: Stage) -> Mapping[str, Any]:
        import torch
        from accelerate import PartialState

        from wellread_hf.training.step_times import seconds_a_step

        tokenizer, parts = made_up_tokenizer(vocabulary), stage.folder / "checkpoints"
        timed: dict[Student, float] = {}
        for student in with_bar(list(_ends(widths, settings, vocabulary))):
            one = partial(seconds_a_step, student, tokenizer, settings, running, parts, _SECONDS)
            timed[student] = kept(parts / f"{student.name}.json", one)
        sizes = [Student(layers, width) for width in widths for layers in LAYERS]
        seconds = {size: timed.get(size) or cost(timed, size) for size in sizes}
        return {
            "device": _device(PartialState().device.type, here),
            "machine": here,
            "threads": torch.get_num_threads(),
            "block_length": length,
            "batch_size": batch,
            "mask_share": settings.mask_share,
            "vocabulary": vocabulary,
            "seconds_a_step": {student.name: value for student, value in timed.items()},
            "tokens_per_second": {size.name: batch * length / value for size, value in seconds.items()},
        }

    return Stage(
        kind="rate",
        name="-".join(map(str, widths)),
        root=running.runs,
        identity={
            # What was measured elsewhere says nothing of this machine.
            "machine": {name: here[name] for name in ("cpu", "instructions", "cores")},
            "widths": widths,
            "block_length": length,
            "batch_size": batch,
            "micro_batch_size": running.micro_batch_size,
            "mask_share": settings.mask_share,
            "bf16": settings.optim.bf16,
            "vocabulary": vocabulary,
            "dropout": settings.dropout,
        },
        work=work,
        solo=True,
    )


def _ends(widths: Sequence[int], settings: Pretrain, vocabulary: int) -> Iterator[Student]:
    """Yields the sizes that are timed."""
    from wellread_hf.training.operations import masked_lm_products, operations

    for width in widths:
        steps = {
            student: operations(
                masked_lm_products(
                    student.shape,
                    settings.optim.batch_size,
                    settings.block_lengths[0],
                    settings.mask_share,
                    vocabulary,
                )
            )
            for student in (Student(layers, width) for layers in LAYERS)
        }
        shallowest, *deeper = steps
        yield shallowest
        yield from [student for student in deeper if steps[student] <= _MOST_OPERATIONS][-1:]


def _device(kind: str, here: Mapping[str, Any]) -> str:
    """Names what trains."""
    if kind == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    return f"{here['cpu']}, {here['cores']} cores"
