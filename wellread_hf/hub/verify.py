"""Checks a model as a user gets it: its bytes, that it loads, and the scores on its card."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from wellread_hf.data.rows import load_task
from wellread_hf.errors import HubError, SourceError, library_errors_as, one_line
from wellread_hf.hub.calls import Limits, client
from wellread_hf.hub.cards.metadata import METRIC_IDS
from wellread_hf.hub.download import fetch_repository
from wellread_hf.metrics.scores import scores
from wellread_hf.models.encode import row_encoder
from wellread_hf.models.load import positions_of
from wellread_hf.models.predict import predict
from wellread_hf.settings import Task
from wellread_hf.store.places import locate
from wellread_hf.tasks import GLUE, GLUE_TASKS

# Half of the last digit that a card shows, in percent.
_TOLERANCE = 0.05
# A card has nine: model-index, results, metrics.
_DEEPEST = 30
_METRICS = {on_the_hub: ours for ours, on_the_hub in METRIC_IDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A score on a card, and what was found, both in percent."""

    task: str
    metric: str
    claimed: float
    found: float

    @property
    def holds(self) -> bool:
        """Whether they are the same to the digits that a card shows."""
        return abs(self.claimed - self.found) <= _TOLERANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was checked."""

    repo: str
    revision: str  # the commit
    files: int  # whose hashes are right
    bytes: int
    model: str  # the class that it loaded as
    claims: tuple[Claim, ...] = ()  # recomputed
    left_out: tuple[str, ...] = ()  # scores that cannot be recomputed from this repository, and why

    @property
    def status(self) -> int:
        """Exit status of the command: 1 where a score differs."""
        return 0 if all(claim.holds for claim in self.claims) else 1

    def show(self) -> None:
        """Prints what was found."""
        print(
            f"{self.repo} at {one_line(self.revision)}: {self.files} files, {self.bytes / 1e6:,.1f} MB, "
            f"every hash is right; loads as {self.model}"
        )
        for claim in self.claims:
            verdict = "as claimed" if claim.holds else "DIFFERS"
            print(
                f"{claim.task} dev {claim.metric}: {claim.found:.2f} here, {claim.claimed:.2f} on the card: "
                f"{verdict}"
            )
        for reason in self.left_out:
            print(f"not recomputed: {reason}")


def verify(
    repo: str,
    revision: str | None = None,
    with_scores: bool = False,
    data: str = GLUE,
    max_length: int = 128,
    api: HfApi | None = None,
    deadline: float = Limits().deadline,
) -> Verified:
    """Downloads a model into the usual cache, compares every hash, loads it, and checks its scores.

    Args:
        repo: Id of a model.
        revision: Branch, tag or commit.
        with_scores: Recompute the dev scores on its card.
        data: GLUE: Hub id or folder.
        max_length: Tokens a row, as in training; longer ones are cut.
        api: Another Hub or user than the environment's.
        deadline: Seconds after which nothing is tried again.

    Raises:
        HubError: A file is damaged, or the Hub does not answer; or the card cannot be read.
        SourceError: The id is not a repository's, or the model does not load.
    """
    api = api or client()
    commit, files = fetch_repository(api, repo, "model", revision, None, deadline)
    if "config.json" not in files:
        raise HubError(f"{repo}: expected a model, found no config.json among {one_line(', '.join(files))}")
    model, tokenizer = _load(files["config.json"].parent)
    found: list[Claim | str] = []
    if with_scores and "README.md" in files:
        found = list(_claims(files["README.md"], model, tokenizer, data, max_length))
    return Verified(
        repo=repo,
        revision=commit,
        files=len(files),
        bytes=sum(path.stat().st_size for path in files.values()),
        model=type(model).__name__,
        claims=tuple(claim for claim in found if isinstance(claim, Claim)),
        left_out=tuple(reason for reason in found if isinstance(reason, str)),
    )


def _load(folder: Path) -> tuple[Any, Any]:
    import transformers

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs is untyped
    with library_errors_as(SourceError, f"{folder}: its bytes are right, but it does not load"):
        # Its own code is not run: the question here is whether it can be trusted.
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        # `AutoModel` would leave out the heads.
        kind = getattr(transformers, config.architectures[0])
        # A pickle could run code while it is loaded.
        model = kind.from_pretrained(folder, use_safetensors=True)
        return model, transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def _claims(card: Path, model: Any, tokenizer: Any, data: str, max_length: int) -> Iterator[Claim | str]:
    with library_errors_as(
        HubError, f"{card}: the card's metadata cannot be read", "report it to its author"
    ):
        text = card.read_text(encoding="utf-8")
        _check_front_matter(text)
        metadata: Any = ModelCard(text).data
        results = metadata.eval_results or []

    # Several metrics of a task share one pass over its rows.
    @cache
    def logits_and_labels(task: str) -> tuple[Any, Any]:
        loaded = load_task(Task(name=task, data=data), [locate(data, "dataset", "data")])
        # A model of fewer positions was trained on shorter rows than the default.
        length = min(max_length, positions_of(model) or max_length)
        logits, _ = predict(model, row_encoder(model, tokenizer, length), loaded.validation.texts)
        return logits, loaded.validation.labels

    for result in results:
        # Whatever stands on a card from elsewhere is cut, and cannot steer the terminal.
        task, split, kind = (
            one_line(str(part), 300)
            for part in (result.dataset_config, result.dataset_split, result.metric_type)
        )
        name, value = f"{task} {split} {kind}", result.metric_value
        if result.dataset_type != GLUE or task not in GLUE_TASKS:
            yield f"{name}: {one_line(str(result.dataset_type), 300)} is not GLUE"
        elif split != GLUE_TASKS[task].validation:
            yield f"{name}: the labels of that split are not public"
        # An encoder's card shows the scores of models that were fine-tuned from it.
        elif "SequenceClassification" not in type(model).__name__:
            yield f"{name}: of models fine-tuned from this one, which are not in this repository"
        elif kind not in _METRICS or not (isinstance(value, int | float) and -1 <= value <= 1):
            yield (
                f"{name} = {one_line(str(value), 300)}: expected a number from -1 to 1, of "
                f"{', '.join(_METRICS)}"
            )
        else:
            metric = _METRICS[kind]
            found = scores((metric,), *logits_and_labels(task))[metric]
            yield Claim(task=task, metric=metric, claimed=100 * float(value), found=100 * found)


def _check_front_matter(card: str) -> None:
    """Refuses YAML that a few lines make endless: names for parts, and parts nested without end."""
    block = REGEX_YAML_BLOCK.search(card)
    depth = 0
    for event in yaml.parse("" if block is None else block[2], Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST or isinstance(event, yaml.AliasEvent):
            raise ValueError(f"YAML with aliases, or with more than {_DEEPEST} levels")
