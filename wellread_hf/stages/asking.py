"""Soft labels from a model behind an endpoint: each text is a prompt, each answer is kept at once."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wellread_hf.data.corpus import is_pending
from wellread_hf.errors import SettingsError, listed
from wellread_hf.metrics.baselines import with_warnings
from wellread_hf.settings import Endpoint, Label, Prompt, Running, Task, Transfer
from wellread_hf.stages.inputs import FoundTask
from wellread_hf.stages.prompting import prompt_identity
from wellread_hf.stages.transfer_set import TransferSet
from wellread_hf.stages.word_outcomes import doubts_of, mass_of, validated
from wellread_hf.store.progress import bar, log
from wellread_hf.store.stage import Stage

# In the folder that goes once there is a record.
_JOURNAL = Path("checkpoints/answers.jsonl")
# Characters a token: English text has about as many in today's vocabularies.
_CHARACTERS = 4


def ask_endpoint(
    endpoint: Endpoint, prompt: Prompt, task: Task, transfer: Transfer, settings: Label, running: Running
) -> Stage:
    """Asks a server that speaks OpenAI's protocol for the probabilities of label words, and stores them.

    Some labelled validation rows are asked as well, which scores the model on the task.

    Args:
        endpoint: The server and its model.
        prompt: What is asked, and the word that stands for each class.
        task: The task, whose rows have one class each.
        transfer: The transfer set.
        settings: Rows a shard.
        running: How it is carried out.

    Raises:
        SettingsError: No model or no prompt is named.
        DataError: The template cannot be read.
    """
    template = _template(endpoint, prompt)
    # Examples come out of the labelled rows; without any it does not matter how many there are.
    drawn = task if prompt.shots else replace(task, train_rows=None, train_seed=0)
    found_task = FoundTask(drawn, running)
    transfer_set = TransferSet(transfer, running)

    def asked() -> "_Asked":
        from wellread_hf.data.draws import draw_rows
        from wellread_hf.labelling.prompts import check_words, drawn_examples, prompts_of

        loaded = found_task.load()
        words = prompt.label_words
        # Examples can be drawn of classes alone.
        check_words(loaded.facts, words)
        examples = drawn_examples(draw_rows(loaded.train, drawn), len(loaded.facts.labels), prompt)
        prompts = prompts_of(template, str(prompt.template), loaded.facts, words, examples)
        validation = _drawn(len(loaded.validation.texts), endpoint.validation_rows)
        texts = transfer_set.stream(loaded)
        return _Asked(loaded, prompts, prompt, validation, texts, transfer.guard)

    def check() -> None:
        from wellread_hf.labelling.answers import check_beginnings, read_answers
        from wellread_hf.labelling.endpoint import openai_package

        openai_package()
        _key(endpoint)
        check_beginnings(prompt.label_words)
        found_task.check()
        transfer_set.check(found_task)
        # What an earlier stage has yet to make cannot be counted.
        if not found_task.is_pending and not any(map(is_pending, transfer_set.locations)):
            _announce(asked(), endpoint, read_answers(stage.folder / _JOURNAL))

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.labelling.answers import Journal
        from wellread_hf.labelling.endpoint import Asker

        rows = asked()
        asker = Asker(rows.prompts, prompt.label_words, endpoint, _key(endpoint))
        with Journal(stage.folder / _JOURNAL) as journal:
            total = len({question.key for question in rows.questions()})
            with bar("asking", "prompts", total, initial=len(journal.answers)) as shown:
                asker.ask_all(rows.questions(), journal, shown)
        outcome = rows.store(journal.answers, stage.folder, settings.shard_rows)
        spent = outcome["tokens_in"], outcome["tokens_out"]
        if any(spent):
            took = f"took {spent[0]:,} tokens, and their answers {spent[1]:,}{_cost(endpoint, *spent)}"
        else:
            took = "were answered; the server does not say how many tokens they took"
        log(f"{outcome['prompts']:,} prompts {took}")
        return with_warnings(outcome | {"retries": asker.retries})

    stage = Stage(
        kind="label",
        name=task.name,
        root=running.runs,
        identity={
            # The address says nothing of the answers: one model is served under many, and a server that is
            # started again on another port must not make a person pay twice. What the server says of its
            # model is in the outcome.
            "teacher": f"endpoint:{endpoint.model}",
            "prompt": prompt_identity(prompt, template),
            "task": found_task.identity(uses_labels=prompt.shots > 0, chooses=False),
            "transfer": transfer_set.identity,
            # Validation rows score the model, and decide nothing of what is stored.
            "settings": {"top_logprobs": endpoint.top_logprobs},
        },
        inputs=[*found_task.locations, *transfer_set.locations],
        work=work,
        solo=True,
        check=check,
        version=found_task.version,
    )
    return stage


def _template(endpoint: Endpoint, prompt: Prompt) -> str:
    """Reads the template; refuses settings that leave something open."""
    from wellread_hf.labelling.prompts import read_template

    if endpoint.model is None:
        raise SettingsError(
            "`endpoint.model` is missing: expected its name on that server, which lists them under /v1/models"
        )
    if prompt.template is None:
        raise SettingsError(
            "`prompt.template` is missing: expected a file of what to ask, with a word for each class in "
            "`prompt.label_words`"
        )
    return read_template(prompt.template)


def _key(endpoint: Endpoint) -> str:
    """Reads the key from the environment; empty where there is none, which local servers need not."""
    key = os.environ.get(endpoint.key_env, "")
    if not key and endpoint.key_env != Endpoint().key_env:
        raise SettingsError(
            f"`endpoint.key_env` {endpoint.key_env}: expected an environment variable with the key, and it "
            "is not set; set it, or leave the option out where the server needs none"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError(
            f"`endpoint.key_env` {endpoint.key_env}: expected a key of printable ASCII characters, got "
            "spaces, line breaks or others among them; set it again"
        )
    return key


def _drawn(rows: int, most: int) -> Sequence[int]:
    """Returns the numbers of the validation rows that are asked, drawn by a fixed seed."""
    import numpy as np

    return sorted(np.random.default_rng(0).permutation(rows)[:most].tolist())


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked: a task's rows, their prompts, numbers of validation rows, and a transfer set."""

    loaded: Any
    prompts: Any
    prompt: Prompt
    validation: Sequence[int]
    texts: Any
    guarded: bool

    @property
    def content_free(self) -> list[tuple[str, ...]]:
        """Texts without content, where what the model says of them is taken off."""
        if not self.prompt.calibrate:
            return []
        from wellread_hf.labelling.causal_labeller import CONTENT_FREE

        return [(text,) * len(self.loaded.facts.columns) for text in CONTENT_FREE]

    @property
    def validation_texts(self) -> list[tuple[str, ...]]:
        """The validation rows that are asked."""
        return [self.loaded.validation.texts[row] for row in self.validation]

    def questions(self) -> Iterator[Any]:
        """Yields a question a row.

        Validation rows come first, so that a bad prompt shows early. Their answers are free: of an answer
        that is limited to the label words some servers give probabilities of these words alone.
        """
        from wellread_hf.labelling.endpoint import Question

        for row, texts in zip(self.validation, self.validation_texts, strict=True):
            yield Question(_hash(texts), f"validation row {row + 1}", texts, is_free=True)
        for texts in self.content_free:
            yield Question(_hash(texts), f"a text without content, {texts[0]!r}", texts, is_free=True)
        for number, texts in enumerate(self.texts, start=1):
            yield Question(_hash(texts), f"row {number} of the transfer set", texts)

    def store(self, answers: Mapping[str, Any], folder: Path, shard_rows: int) -> dict[str, Any]:
        """Writes the shards; returns what the answers are worth, and what they took."""
        import numpy as np
        from scipy.special import logsumexp

        from wellread_hf.data.rows import report_classes
        from wellread_hf.labelling.soft_labels import write_rows

        def said(keys: Sequence[str]) -> Any:
            return np.array([answers[key].log_probs for key in keys])

        facts, free = self.loaded.facts, None
        if self.content_free:
            # As in `CausalLabeller.calibrate`: the mean of probabilities, in logarithms.
            each = said([_hash(texts) for texts in self.content_free])
            free = logsumexp(each, axis=0) - np.log(len(each))
        taken_off = np.zeros(len(facts.labels)) if free is None else free
        keys = [_hash(texts) for texts in self.texts]
        refused = np.array([answers[key].refused is not None for key in keys])
        logits = np.where(refused[:, None], said(keys), said(keys) - taken_off).astype(np.float32)
        write_rows(folder, logits, np.array([int(key, 16) for key in keys], dtype=np.uint64), shard_rows)
        used = [answers[key] for key in {question.key: None for question in self.questions()}]
        used = [answer for answer in used if answer.refused is None]
        free_masses = [answer.mass for answer in used if not answer.constrained]
        outcome: dict[str, Any] = {
            "rows": len(logits),
            **({"held_out_rows": self.texts.found.counts} if self.guarded else {}),
            "labels": facts.labels,
            "label_words": dict(zip(facts.labels, self.prompt.label_words, strict=True)),
            "class_counts": report_classes(self.loaded),
            **_spent(used),
        }
        if free_masses:
            # Not of all rows, where the server takes the constraint.
            mass = {**mass_of(np.array(free_masses)), "prompts": len(free_masses)}
            outcome |= {"label_words_mass": mass, "warnings": doubts_of(mass, self.prompt)}
        if refused.any():
            outcome |= {"refused_rows": int(refused.sum())}
            outcome["warnings"] = [*outcome.get("warnings", ()), _refusals(keys, answers)]
        asked = {row: _hash(self.loaded.validation.texts[row]) for row in self.validation}
        if scored := {row: key for row, key in asked.items() if answers[key].refused is None}:
            logits = said([*scored.values()]) - taken_off
            outcome |= validated(facts, logits, self.loaded.validation.labels[[*scored]], free)
        return outcome


def _refusals(keys: Sequence[str], answers: Mapping[str, Any]) -> str:
    """Names the rows that the server refused."""
    said = {row: answers[key].refused for row, key in enumerate(keys, 1) if answers[key].refused is not None}
    return (
        f"the server refused {len(said)} of the rows: {listed([*map(str, said)])}, the first with "
        f"{next(iter(said.values()))!r}; they are stored with even probabilities: leave them out, or take "
        "another server"
    )


def _spent(answers: Sequence[Any]) -> dict[str, Any]:
    """Returns who answered, how, and what it took."""
    served = Counter((answer.model, answer.fingerprint) for answer in answers)
    return {
        "prompts": len(answers),
        "constrained": sum(answer.constrained for answer in answers) / len(answers),
        "served": [
            {"model": model, "fingerprint": fingerprint, "prompts": count}
            for (model, fingerprint), count in served.items()
        ],
        "tokens_in": sum(answer.tokens_in for answer in answers),
        "tokens_out": sum(answer.tokens_out for answer in answers),
    }


def _hash(texts: tuple[str, ...]) -> str:
    from wellread_hf.labelling.soft_labels import text_hashes

    return f"{int(text_hashes([texts])[0]):016x}"


def _announce(rows: _Asked, endpoint: Endpoint, answers: Mapping[str, Any]) -> None:
    """Says what will be asked, and what it will take."""
    left: dict[str, int] = {}
    for question in rows.questions():
        if question.key not in answers and question.key not in left:
            left[question.key] = len(rows.prompts(question.texts))
    tokens = sum(left.values()) // _CHARACTERS
    log(
        f"asks {endpoint.model} at {endpoint.url}: {len(left):,} prompts for {len(rows.texts):,} rows and "
        f"{len(rows.validation):,} validation rows, {len(answers):,} answered before; about {tokens:,} "
        f"tokens ({_CHARACTERS} characters a token) of prompts and {len(left):,} of answers"
        f"{_cost(endpoint, tokens, len(left))}"
    )


def _cost(endpoint: Endpoint, tokens_in: int, tokens_out: int) -> str:
    if endpoint.price_in is None and endpoint.price_out is None:
        return ""
    cost = (tokens_in * (endpoint.price_in or 0) + tokens_out * (endpoint.price_out or 0)) / 1e6
    return f", for {cost:,.2f} at the prices given" if cost >= 1 else f", for {cost:.2g} at the prices given"
