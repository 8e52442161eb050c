"""Checks a model as a user gets it: its bytes, that it loads, and what its card claims."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCard, get_token
from safetensors import SafetensorError

from wellread_hf.cards.checks import METRIC_IDS
from wellread_hf.data.rows import load_task
from wellread_hf.errors import HubError, SourceError
from wellread_hf.evaluation.metrics import scores
from wellread_hf.hub.calls import Calls, Patience, Rest
from wellread_hf.hub.checking import check_files
from wellread_hf.hub.client import patient_client
from wellread_hf.locations import locate
from wellread_hf.models.encoding import encode
from wellread_hf.models.inference import logits_in_order
from wellread_hf.settings import Task
from wellread_hf.tasks import GLUE, GLUE_TASKS

# Half of the last digit that a card shows, in percent.
_TOLERANCE = 0.05
_METRICS = {on_the_hub: ours for ours, on_the_hub in METRIC_IDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A score on a card, and what was found.

    Attributes:
        task: GLUE's name of the task.
        metric: Name of the metric.
        claimed: What the card says, in percent.
        found: What this machine computed, in percent.
    """

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
    """What was checked.

    Attributes:
        repo: The repository.
        revision: The commit.
        files: Number of files whose hashes are right.
        bytes: Their size.
        model: The class that it loaded as.
        claims: The recomputed scores.
        left_out: Scores on the card that cannot be recomputed from this repository, and why.
    """

    repo: str
    revision: str
    files: int
    bytes: int
    model: str
    claims: tuple[Claim, ...] = ()
    left_out: tuple[str, ...] = ()


def verify(
    repo: str,
    revision: str | None = None,
    with_scores: bool = False,
    data: str = GLUE,
    max_length: int = 128,
    api: HfApi | None = None,
) -> Verified:
    """Downloads a model into the usual cache, compares every hash, loads it, and checks its scores.

    Args:
        repo: Id of a model.
        revision: Branch, tag or commit.
        with_scores: Recompute the dev scores on its card.
        data: GLUE: Hub id or folder.
        max_length: Tokens a row, as in training; longer ones are cut.
        api: Another Hub or user than the environment's.

    Raises:
        HubError: A file is damaged, or the Hub does not answer.
        SourceError: It does not load.
    """
    api = api or HfApi(token=get_token())
    calls = Calls(Patience(), Rest())
    with patient_client():
        commit = str(calls(f"looking at {repo}", lambda: api.model_info(repo, revision=revision)).sha)
        files = check_files(api, calls, repo, "model", commit, None)
    if "config.json" not in files:
        raise HubError(f"{repo}: expected a model, found no config.json among {', '.join(files)}")
    model, tokenizer = _load(files["config.json"].parent)
    claims: list[Claim] = []
    left_out: list[str] = []
    if with_scores and "README.md" in files:
        for found in _claims(files["README.md"], model, _Judge(model, tokenizer, data, max_length)):
            if isinstance(found, Claim):
                claims.append(found)
            else:
                left_out.append(found)
    return Verified(
        repo=repo,
        revision=commit,
        files=len(files),
        bytes=sum(path.stat().st_size for path in files.values()),
        model=type(model).__name__,
        claims=tuple(claims),
        left_out=tuple(left_out),
    )


def _load(folder: Path) -> tuple[Any, Any]:
    import transformers

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs is untyped
    try:
        config = transformers.AutoConfig.from_pretrained(folder)
        kind = getattr(transformers, config.architectures[0])
        model = kind.from_pretrained(folder, use_safetensors=True)
        return model, transformers.AutoTokenizer.from_pretrained(folder)
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,
        SafetensorError,
    ) as error:
        raise SourceError(f"{folder}: its bytes are right, but it does not load: {error}") from error


def _claims(card: Path, model: Any, judge: "_Judge") -> Iterator[Claim | str]:
    try:
        results = ModelCard.load(card).data.eval_results or []
    except (ValueError, TypeError, LookupError) as error:
        raise HubError(f"{card}: the card's metadata cannot be read ({error}); have it mended") from error
    for result in results:
        task, split = str(result.dataset_config), result.dataset_split
        name = f"{task} {split} {result.metric_type}"
        if result.dataset_type != GLUE or task not in GLUE_TASKS:
            yield f"{name}: {result.dataset_type} is not GLUE"
        elif split != GLUE_TASKS[task].validation:
            yield f"{name}: the labels of that split are not public"
        elif "SequenceClassification" not in type(model).__name__:
            yield f"{name}: of models fine-tuned from this one, which are not in this repository"
        elif result.metric_type not in _METRICS or not isinstance(result.metric_value, int | float):
            yield f"{name} = {result.metric_value}: expected a number, of {', '.join(_METRICS)}"
        else:
            metric = _METRICS[result.metric_type]
            claimed = 100 * float(result.metric_value)
            yield Claim(task=task, metric=metric, claimed=claimed, found=100 * judge.score(task, metric))


class _Judge:
    """Scores one model on dev sets, passing over each of them once."""

    def __init__(self, model: Any, tokenizer: Any, data: str, max_length: int) -> None:
        self.model, self.tokenizer, self.data, self.max_length = model, tokenizer, data, max_length
        self.done: dict[str, tuple[Any, Any]] = {}

    def score(self, task: str, metric: str) -> float:
        if task not in self.done:
            loaded = load_task(Task(name=task, data=self.data), [locate(self.data, "dataset", "--data")])
            rows = encode(loaded.validation.texts, self.tokenizer, self.max_length)
            self.done[task] = logits_in_order(self.model, rows), loaded.validation.labels
        logits, labels = self.done[task]
        return scores((metric,), logits, labels)[metric]
