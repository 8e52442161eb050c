"""Soft labels of a language model that is asked for them: label words after a prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

from wellread_hf.data.task_facts import facts_of, finds_classes
from wellread_hf.errors import SettingsError
from wellread_hf.metrics.baselines import with_warnings
from wellread_hf.settings import Label, Prompt, Running, Task, Transfer
from wellread_hf.stages.inputs import FoundTask, identity_of
from wellread_hf.stages.labelling import find_teacher
from wellread_hf.stages.transfer_set import TransferSet
from wellread_hf.stages.word_outcomes import doubts_of, mass_of, validated
from wellread_hf.store.progress import log
from wellread_hf.store.stage import Location, Place, Stage


def label_by_prompt(
    teacher: Place, prompt: Prompt, task: Task, transfer: Transfer, settings: Label, running: Running
) -> Stage:
    """Asks a causal language model for the class of each row, once; stores its words' log-probabilities.

    Args:
        teacher: Where the model lies.
        prompt: What it is asked.
        task: Whose classes the words stand for; its training rows are drawn from for examples.
        transfer: The rows.
        settings: Tokens of a text and of a batch, and rows a shard.
        running: How it is carried out.

    Raises:
        SettingsError: What a classifier alone has is asked for.
        DataError: There is no template.
    """
    from wellread_hf.labelling.prompts import check_words, read_template

    assert prompt.template is not None
    _check_settings(settings)
    template = read_template(prompt.template)
    teacher_at = find_teacher(teacher, running)
    # Examples come out of the labelled rows; without any it does not matter how many there are.
    rows = task if prompt.shots else replace(task, train_rows=None, train_seed=0)
    found_task = FoundTask(rows, running)
    transfer_set = TransferSet(transfer, running)

    def prompts(loaded: Any) -> Any:
        from wellread_hf.data.draws import draw_rows
        from wellread_hf.labelling.prompts import check_words, drawn_examples, prompts_of

        facts = loaded.facts
        # Examples can be drawn of classes alone.
        check_words(facts, prompt.label_words)
        examples = drawn_examples(draw_rows(loaded.train, rows), len(facts.labels), prompt)
        return prompts_of(template, str(prompt.template), facts, prompt.label_words, examples)

    def reader(loaded: Any) -> Any:
        from wellread_hf.labelling.prompt_reader import PromptReader
        from wellread_hf.models.load import load_tokenizer

        tokenizer = load_tokenizer(teacher_at, trust_remote_code=settings.trust_remote_code)
        samples = [*islice(loaded.train.texts, 2), *islice(loaded.validation.texts, 2)]
        return PromptReader(tokenizer, prompts(loaded), prompt.chat, settings.max_length, samples)

    def check() -> None:
        # Classes that are found in the rows are known once these are read.
        if not finds_classes(found_task.task) or task.multi_label:
            check_words(facts_of(found_task.task), prompt.label_words)
        found_task.check()
        transfer_set.check(found_task)
        if found_task.is_pending:
            return
        if teacher_at.stage is None:
            reader(found_task.load())
        else:
            prompts(found_task.load())

    def work(stage: Stage) -> Mapping[str, Any]:
        from accelerate import PartialState

        from wellread_hf.data.rows import report_classes
        from wellread_hf.labelling.causal_labeller import CausalLabeller
        from wellread_hf.labelling.label_rows import label_rows
        from wellread_hf.models.continuations import Continuations
        from wellread_hf.models.load import check_fit, load_causal_lm, positions_of

        loaded = found_task.load()
        reads = reader(loaded)
        model = load_causal_lm(
            teacher_at, bf16=prompt.precision == "bf16", trust_remote_code=settings.trust_remote_code
        )
        check_fit(model, reads.tokenizer)
        if getattr(model, "hf_quantizer", None) is None:
            model.to(PartialState().device)
        scorer = Continuations(model, reads.words, settings.batch_tokens)
        if not scorer.reuses(1):
            log(
                f"{teacher_at.name} keeps something else than keys and values of all tokens: each prompt is "
                "read whole"
            )
        elif scorer.window is not None:
            log(f"{teacher_at.name} keeps {scorer.window} tokens: prompts of so many are read whole")
        labeller = CausalLabeller(reads, scorer, positions_of(model))
        if prompt.calibrate:
            labeller.calibrate()
        texts = transfer_set.stream(loaded)
        reused = label_rows(labeller, texts, settings.shard_rows, stage.folder)
        outcome: dict[str, Any] = {
            "rows": len(texts),
            # What the guard left out; not known where there was none.
            **({"held_out_rows": texts.found.counts} if transfer.guard else {}),
            "labels": loaded.facts.labels,
            "label_words": dict(zip(loaded.facts.labels, prompt.label_words, strict=True)),
            "class_counts": report_classes(loaded),
            "shards_reused": reused,
        }
        if PartialState().is_main_process:
            mass = _mass(stage.folder, labeller.content_free)
            validation = labeller.logits_of(loaded.validation.texts), loaded.validation.labels
            free = labeller.content_free if prompt.calibrate else None
            outcome |= {"label_words_mass": mass} | validated(loaded.facts, *validation, free)
            outcome["warnings"] = [*reads.notes, *doubts_of(mass, prompt)]
        return with_warnings(outcome)

    return Stage(
        kind="label",
        name=task.name,
        root=running.runs,
        identity={
            "teacher": teacher_at.fingerprint,
            "task": found_task.identity(uses_labels=prompt.shots > 0, chooses=False),
            "transfer": transfer_set.identity,
            "settings": identity_of(settings, later=("states",)),
            "prompt": prompt_identity(prompt, template)
            | {"chat_template": _chat_template(teacher_at, prompt)},
        },
        inputs=[teacher_at, *found_task.locations, *transfer_set.locations],
        work=work,
        shared=True,
        check=check,
        version=found_task.version,
    )


def one_teacher(names: Sequence[str] | None, weights: Sequence[float]) -> str:
    """Returns the name of the one language model that is asked.

    Raises:
        SettingsError: Several are named, or none, or there are weights.
    """
    if names is None or len(names) != 1 or weights:
        got = " ".join(names or ["none"]) + (", with `teacher_weights`" if weights else "")
        raise SettingsError(
            f"`teacher`: expected one causal language model for `prompt.template`, without weights, got "
            f"{got}; only classifiers can be averaged"
        )
    return names[0]


def prompt_identity(prompt: Prompt, template: str) -> dict[str, Any]:
    """Returns what of a prompt decides the answers: the template's text, not where it lies."""
    # Without examples there is no draw.
    seed = {} if prompt.shots else {"seed": 0}
    return asdict(prompt) | {"template": template} | seed


def _check_settings(settings: Label) -> None:
    for name, what in (("states", "[CLS] states"), ("teacher_labels", "names of outputs")):
        if getattr(settings, name):
            raise SettingsError(
                f"`label.{name}`: a classifier has {what}, a language model that is asked has none; leave "
                "them out"
            )


def _chat_template(teacher: Location, prompt: Prompt) -> str | None:
    """Returns the text of a chat template that a local model's fingerprint leaves out, if it is used."""
    path = Path(teacher.name) / "chat_template.jinja"
    return path.read_text(encoding="utf-8") if prompt.chat != "no" and path.is_file() else None


def _mass(folder: Path, content_free: Any) -> dict[str, float]:
    """Returns what share of the probability the label words have in a store."""
    import numpy as np
    from scipy.special import logsumexp

    from wellread_hf.labelling.soft_labels import SoftLabels

    # What calibration took off is no part of what the model said.
    return mass_of(np.exp(logsumexp(SoftLabels.open(folder).logits + content_free, axis=1)))
