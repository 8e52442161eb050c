"""Soft labels from a model behind an endpoint: each text is a prompt, each answer is kept as it comes."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wellread_hf.data.corpus import is_pending
from wellread_hf.errors import SettingsError
from wellread_hf.metrics.baselines import with_warnings
from wellread_hf.settings import Endpoint, Label, Prompt, Running, Task, Transfer
from wellread_hf.stages.inputs import FoundTask, TransferSet
from wellread_hf.store.progress import bar, log
from wellread_hf.store.stage import Stage

# In the folder that goes once there is a record.
_JOURNAL = Path("checkpoints/answers.jsonl")
# Characters a token: English text has about as many in today's vocabularies.
_CHARACTERS = 4
# Above this share of rows without an answer in the label words a run warns.
_MANY = 0.05


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
        SettingsError: No model or no prompt is named, or a setting of the prompt needs the model itself.
        DataError: The template cannot be read.
    """
    template = _template(endpoint, prompt)
    found_task = FoundTask(task, running)
    transfer_set = TransferSet(transfer, running)

    def asked() -> "_Asked":
        from wellread_hf.data.draws import draw_rows
        from wellread_hf.labelling.prompts import drawn_examples, prompts_of

        loaded = found_task.load()
        words = prompt.label_words
        examples = drawn_examples(draw_rows(loaded.train, task), len(loaded.facts.labels), prompt)
        prompts = prompts_of(template, str(prompt.template), loaded.facts, words, examples)
        validation = _drawn(len(loaded.validation.texts), endpoint.validation_rows)
        return _Asked(loaded, prompts, validation, transfer_set.stream(loaded))

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
            _tell(asked(), endpoint, read_answers(stage.folder / _JOURNAL))

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.labelling.answers import Journal
        from wellread_hf.labelling.endpoint import Asker

        rows = asked()
        asker = Asker(rows.prompts, prompt.label_words, endpoint, _key(endpoint))
        with Journal(stage.folder / _JOURNAL) as journal:
            total = len({question.key for question in rows.questions()})
            with bar("asking", "prompts", total, initial=len(journal.answers)) as shown:
                asker.ask_all(rows.questions(), journal, shown)
        return with_warnings(
            {"retries": asker.retries}
            | rows.store(journal.answers, stage.folder, settings.shard_rows, endpoint)
        )

    stage = Stage(
        kind="label",
        name=task.name,
        root=running.runs,
        identity={
            # The address says nothing of the answers: one model is served under many, and a server that is
            # started again on another port must not make a person pay twice. What the server says of its
            # model is in the outcome.
            "teacher": f"endpoint:{endpoint.model}",
            "prompt": {
                "template": template,
                "label_words": prompt.label_words,
                "shots": prompt.shots,
                "seed": prompt.seed,
            },
            "task": found_task.identity(uses_labels=prompt.shots > 0),
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
    """Reads the template; refuses settings that leave something open, or that a server cannot follow."""
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
    usual = Prompt()
    for name in ("calibrate", "chat", "precision"):
        if getattr(prompt, name) != getattr(usual, name):
            raise SettingsError(
                f"`prompt.{name}`: expected none with `endpoint.url`, whose server decides it; leave it out"
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
            f"`endpoint.key_env` {endpoint.key_env}: expected a key of printable ASCII letters, got others "
            "among them, a line break for one; set it again"
        )
    return key


def _drawn(rows: int, most: int) -> Sequence[int]:
    """Returns the numbers of the validation rows that are asked, drawn by a fixed seed."""
    import numpy as np

    return sorted(np.random.default_rng(0).permutation(rows)[:most].tolist())


@dataclass(frozen=True, slots=True)
class _Asked:
    """The rows that are asked: a task's, its prompts, numbers of validation rows, and a transfer set."""

    loaded: Any
    prompts: Any
    validation: Sequence[int]
    texts: Any

    def questions(self) -> Iterator[Any]:
        """Yields a question a row; validation rows come first, so that a bad prompt shows early."""
        from wellread_hf.labelling.endpoint import Question

        for row in self.validation:
            texts = self.loaded.validation.texts[row]
            yield Question(_hash(texts), f"validation row {row + 1}", texts)
        for number, texts in enumerate(self.texts, start=1):
            yield Question(_hash(texts), f"row {number} of the transfer set", texts)

    def store(
        self, answers: Mapping[str, Any], folder: Path, shard_rows: int, endpoint: Endpoint
    ) -> Mapping[str, Any]:
        """Writes the shards; returns what the answers are worth, and what they took."""
        import numpy as np

        from wellread_hf.data.rows import report_classes
        from wellread_hf.labelling.answers import LITTLE
        from wellread_hf.labelling.soft_labels import write_rows
        from wellread_hf.metrics.scores import scores

        keys = [_hash(texts) for texts in self.texts]
        logits = np.array([answers[key].log_probs for key in keys], dtype=np.float32)
        write_rows(folder, logits, np.array([int(key, 16) for key in keys], dtype=np.uint64), shard_rows)
        facts, distinct = self.loaded.facts, {question.key: None for question in self.questions()}
        used = [answers[key] for key in distinct]
        masses = np.array([answers[key].mass for key in keys])
        little = float((masses < LITTLE).mean())
        outcome: dict[str, Any] = {
            "rows": len(logits),
            "labels": facts.labels,
            "class_counts": report_classes(self.loaded),
            "prompts": len(used),
            "mean_mass": float(masses.mean()),
            "rows_with_little_mass": little,
            "constrained": sum(answer.constrained for answer in used) / len(used),
            "served": [
                {"model": model, "fingerprint": fingerprint, "prompts": count}
                for (model, fingerprint), count in Counter(
                    (answer.model, answer.fingerprint) for answer in used
                ).items()
            ],
            "tokens_in": sum(answer.tokens_in for answer in used),
            "tokens_out": sum(answer.tokens_out for answer in used),
        }
        if self.validation:
            labels = self.loaded.validation.labels[list(self.validation)]
            texts = [self.loaded.validation.texts[row] for row in self.validation]
            said = np.array([answers[_hash(each)].log_probs for each in texts])
            outcome |= {
                "metric": facts.metrics[0],
                "teacher_validation": scores(facts.metrics, said, labels),
                "teacher_validation_rows": len(labels),
            }
        if little > _MANY:
            outcome["warnings"] = [
                f"on {100 * little:.1f} % of the rows the label words have less than 1 % of the probability: "
                "the model would answer otherwise there; change the prompt or the label words"
            ]
        spent = outcome["tokens_in"], outcome["tokens_out"]
        log(
            f"{len(used):,} prompts took {spent[0]:,} tokens and {spent[1]:,} of answers"
            f"{_cost(endpoint, *spent)}"
        )
        return outcome


def _hash(texts: tuple[str, ...]) -> str:
    from wellread_hf.labelling.soft_labels import text_hashes

    return f"{int(text_hashes([texts])[0]):016x}"


def _tell(rows: _Asked, endpoint: Endpoint, answers: Mapping[str, Any]) -> None:
    """Says what will be asked, and what it will take."""
    left: dict[str, int] = {}
    for question in rows.questions():
        if question.key not in answers and question.key not in left:
            left[question.key] = len(rows.prompts(question.texts))
    tokens = sum(left.values()) // _CHARACTERS
    log(
        f"asks {endpoint.model} at {endpoint.url} {len(left):,} prompts for {len(rows.texts):,} rows and "
        f"{len(rows.validation):,} validation rows, {len(answers):,} answered before: about {tokens:,} "
        f"tokens ({_CHARACTERS} characters a token) and {len(left):,} of answers"
        f"{_cost(endpoint, tokens, len(left))}"
    )


def _cost(endpoint: Endpoint, tokens_in: int, tokens_out: int) -> str:
    if endpoint.price_in is None and endpoint.price_out is None:
        return ""
    cost = (tokens_in * (endpoint.price_in or 0) + tokens_out * (endpoint.price_out or 0)) / 1e6
    return f", for {cost:,.2f} at the prices given"
