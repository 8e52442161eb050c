"""What a family costs before it is trained: tokens out of hours; operations, hours and disk."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import floor, log10
from pathlib import Path
from tempfile import TemporaryDirectory

import wellread_hf.stages as stages
from wellread_hf.data.corpus import is_pending
from wellread_hf.experiments.family_settings import FamilySettings, tokens_a_step
from wellread_hf.results.tables import Table
from wellread_hf.results.training_costs import Rates, cost_of, cost_table
from wellread_hf.settings import Pretrain
from wellread_hf.stages.inputs import find
from wellread_hf.store.graph import carry_out
from wellread_hf.store.progress import quiet
from wellread_hf.store.stage import Stage
from wellread_hf.students import VOCABULARY, Student

# What `python -m benchmarks.gpu` leaves in a checkout.
_OF_GPUS = Path(__file__).parents[2] / "benchmarks" / "gpu.json"


def rates_stage(settings: FamilySettings) -> Stage:
    """Plans the measurement of how fast this machine pre-trains the students."""
    trained = [student for student in settings.chosen if student not in settings.adopted]
    return stages.rate(trained, settings.glue.given.pretrain, settings.running, _vocabulary(settings))


def tokens_of_hours(settings: FamilySettings, smaller: Mapping[Student, Student]) -> float | None:
    """Returns the tokens that a student reads that is not grown, out of the hours for all.

    As in the paper all read as many, and those that are grown the same share of them; the hours are those of
    one after another. To two digits, rounded down: a number that a card can state.

    Args:
        settings: With hours; this machine is measured.
        smaller: Students that are grown, and from which.

    Returns:
        None where nobody is trained.
    """
    rates = Rates.of_stage(rates_stage(settings).record.outcome)
    million = 1_000_000
    seconds = sum(
        (cost_of(student, million, settings.glue.given.pretrain, [rates]).seconds[rates.device] or 0.0)
        * (settings.grown_share if student in smaller else 1.0)
        for student in settings.chosen
        if student not in settings.adopted
    )
    if not seconds or settings.hours is None:
        return None
    found = million * 3600 * settings.hours / seconds
    unit = 10.0 ** (floor(log10(found)) - 1)
    return floor(found / unit) * unit


def costs_table(
    settings: FamilySettings,
    encoders: Mapping[Student, Stage],
    how: Mapping[Student, str],
    planned: Mapping[Student, Pretrain],
) -> Table:
    """Tables what becomes of each student, and what that costs here and on GPUs that were measured.

    Args:
        settings: The family's.
        encoders: What makes each student.
        how: How each begins.
        planned: Pre-trainings of those that are trained.
    """
    begins = [[student.name, how[student], encoder.state] for student, encoder in encoders.items()]
    head = ["student", "how", "state"]
    tokens = {student: _tokens(planned.get(student), encoder) for student, encoder in encoders.items()}
    if any(pretrain.toy for pretrain in planned.values()):
        return Table(head, begins, ["toys, of a sixteenth of the width: each takes seconds to minutes"])
    if None in tokens.values():
        return Table(head, begins, ["costs are known once the text is packed, or with `tokens` or `hours`"])
    gpu = Rates.of_gpu(_OF_GPUS)
    rates = [*([_rates_here(settings)] if planned else []), *([] if gpu is None else [gpu])]
    commits = 1 if settings.publishing.namespace else 0
    pretrain, words = settings.glue.given.pretrain, _vocabulary(settings)
    costs = [
        cost_of(student, round(read or 0), planned.get(student, pretrain), rates, words, commits)
        for student, read in tokens.items()
    ]
    found = cost_table(costs, rates)
    rows = [[*first, *row[1:]] for first, row in zip([*begins, ["**all**", "", ""]], found.rows, strict=True)]
    none = "no GPU was measured: on one, `python -m benchmarks.gpu` in a checkout does so"
    return Table([*head, *found.head[1:]], rows, [*found.notes, *([none] if gpu is None else [])])


def _rates_here(settings: FamilySettings) -> Rates:
    """Reads what was measured of this machine, or measures it and keeps nothing: a dry run writes nothing."""
    if (stage := rates_stage(settings)).state == "done":
        return Rates.of_stage(stage.record.outcome)
    with TemporaryDirectory() as folder, quiet():
        running = replace(settings.running, runs=Path(folder))
        trained = [student for student in settings.chosen if student not in settings.adopted]
        stage = stages.rate(trained, settings.glue.given.pretrain, running, _vocabulary(settings))
        carry_out([stage])
        return Rates.of_stage(stage.record.outcome)


def _vocabulary(settings: FamilySettings) -> int:
    """Returns the words of the tokenizer; the release's number for one that has yet to be made."""
    name = settings.glue.given.corpus.tokenizer
    tokenizer_at = find(name, "model", "corpus.tokenizer", settings.running)
    if is_pending(tokenizer_at):
        return VOCABULARY
    from wellread_hf.models.load import load_tokenizer

    return len(load_tokenizer(tokenizer_at))


def _tokens(planned: Pretrain | None, encoder: Stage) -> float | None:
    """Returns the tokens that a pre-training will read; None as long as they are not known."""
    if planned is None:
        return 0.0
    if planned.steps is not None:
        return planned.steps * tokens_a_step(planned)
    packs: Sequence[Stage] = [needed for needed in encoder.after if needed.kind == "pack"]
    if planned.minutes is not None or not packs or any(packed.state != "done" for packed in packs):
        return None
    # An epoch of each phase is a share of a pass over blocks of its own length.
    shares = zip(packs, planned.phase_shares, strict=False)
    return planned.epochs * sum(share * float(packed.record.outcome["tokens"]) for packed, share in shares)
