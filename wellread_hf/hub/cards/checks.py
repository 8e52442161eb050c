"""What client and server check when a card is pushed, checked here before anything is sent.

Sources: `huggingface_hub.utils.validate_repo_id`; `modelcard.md` in `huggingface/hub-docs`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

import yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, but not in its __all__

from wellread_hf.errors import CardError, nearest
from wellread_hf.hub.cards.facts import Facts
from wellread_hf.hub.cards.secrets import secrets_in

LICENCES = ("apache-2.0", "unknown")
PIPELINES = ("fill-mask", "text-classification")
LIBRARIES = ("transformers",)
RELATIONS = ("adapter", "finetune", "merge", "quantized")
# Names of metrics as the Hub has them.
METRIC_IDS = {
    "accuracy": "accuracy",
    "f1": "f1",
    "f1_micro": "f1_micro",
    "f1_macro": "f1_macro",
    "matthews_correlation": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")


def check_name(facts: Facts) -> None:
    """Refuses a name or namespace that no repository can have.

    Raises:
        CardError: It is one.
    """
    if not _NAME.fullmatch(facts.name) or facts.name.endswith((".git", "-", ".")):
        raise CardError(
            f"expected a repository's name of lower-case letters, digits, '-', '_' and '.' (at most 96), got "
            f"{facts.name!r}; give another with `name`"
        )
    _require_repo_id(facts.repo_id, "the repository", "mend `name` or `namespace`")


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Checks metadata offline against what client and server check when a card is pushed.

    Args:
        metadata: What the YAML of a card's front matter says.

    Raises:
        CardError: A key is missing, or has a value that is not taken.
    """
    if "license" in metadata:
        _require_known(metadata["license"], LICENCES, "license")
    _require_known(metadata.get("pipeline_tag"), PIPELINES, "pipeline_tag")
    _require_known(metadata.get("library_name"), LIBRARIES, "library_name")
    language = metadata.get("language", [])
    for code in language if isinstance(language, list) else [language]:
        _require(
            isinstance(code, str) and re.fullmatch(r"[a-z]{2,3}", code) is not None,
            "language",
            "a code of ISO 639, two or three lower-case letters",
            code,
        )
    for key in ("tags", "datasets", "metrics"):
        values = metadata.get(key, [])
        _require(
            isinstance(values, list) and all(isinstance(value, str) and value.strip() for value in values),
            key,
            "a list of names",
            values,
        )
    for dataset in metadata.get("datasets", []):
        _require_repo_id(dataset, "datasets", "name a data set as on the Hub")
    if "base_model" in metadata:
        base = metadata["base_model"]
        for model in base if isinstance(base, list) else [base]:
            _require_repo_id(model, "base_model", "name a model as on the Hub")
        _require_known(metadata.get("base_model_relation"), RELATIONS, "base_model_relation")
    else:
        relation = metadata.get("base_model_relation")
        _require(relation is None, "base_model_relation", "none without base_model", relation)
    if "model-index" in metadata:
        _check_index(metadata["model-index"])


def check_card(markdown: str) -> None:
    """Checks a card as it will be pushed: its front matter, and that no secret is in it.

    Raises:
        CardError: The front matter is missing, no mapping or wrong, or there is a secret.
    """
    block = REGEX_YAML_BLOCK.search(markdown)
    try:
        metadata = yaml.safe_load(block[2]) if block is not None else None
    except yaml.YAMLError as error:
        raise CardError(f"the card's front matter is no YAML ({error}); render the card again") from error
    if not isinstance(metadata, dict):
        raise CardError(
            "expected a card to begin with YAML between lines of ---, found none; render it again"
        )
    check_metadata(metadata)
    if found := secrets_in(markdown):
        raise CardError(
            f"the card has what looks like a secret ({', '.join(found)}), in a command or a name; take it "
            "out of the record, and revoke it"
        )


def _check_index(index: Any) -> None:
    _require(isinstance(index, list) and len(index) == 1, "model-index", "a list of one model", index)
    name, results = _field(index[0], "name", "model-index"), _field(index[0], "results", "model-index")
    _require(isinstance(name, str) and _NAME.fullmatch(name) is not None, "model-index.name", "a name", name)
    _require(isinstance(results, list) and bool(results), "model-index.results", "a list of results", results)
    seen = set()
    for result in results:
        task = _field(_field(result, "task", "result"), "type", "task")
        _require_known(task, PIPELINES, "model-index task.type")
        dataset = _field(result, "dataset", "result")
        _require_repo_id(_field(dataset, "type", "dataset"), "dataset.type", "name a data set as on the Hub")
        title = _field(dataset, "name", "dataset")
        _require(isinstance(title, str) and bool(title.strip()), "dataset.name", "a title", title)
        revision = dataset.get("revision")
        pinned = isinstance(revision, str) and re.fullmatch(r"[0-9a-f]{40}", revision) is not None
        _require(revision is None or pinned, "dataset.revision", "40 hexadecimal digits", revision)
        place = (task, dataset["type"], dataset.get("config"), dataset.get("split"))
        _require(place not in seen, "model-index", "one entry a task and split", place)
        seen.add(place)
        metrics = _field(result, "metrics", "result")
        _require(isinstance(metrics, list) and bool(metrics), "metrics", "a list of metrics", metrics)
        for metric in metrics:
            _require_known(_field(metric, "type", "metric"), tuple(METRIC_IDS.values()), "metrics[].type")
            value = _field(metric, "value", "metric")
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
            _require(number and -1 <= value <= 1, "metrics[].value", "a finite number from -1 to 1", value)


def _field(value: Any, key: str, where: str) -> Any:
    _require(isinstance(value, Mapping) and key in value, f"{where}.{key}", "a value", None)
    return value[key]


def _require_known(value: Any, known: Iterable[str], key: str) -> None:
    known = tuple(known)
    near = nearest(str(value), known, 1)
    _require(isinstance(value, str) and value in known, key, f"a known one, like {near}", value)


def _require_repo_id(value: Any, key: str, remedy: str) -> None:
    check: Callable[[Any], None] = validate_repo_id
    try:
        check(value)
        sound = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", value, re.ASCII) is not None
    except (HFValidationError, TypeError):
        sound = False
    if not sound:
        raise CardError(f"{key}: expected NAME or NAMESPACE/NAME, got {value!r}; {remedy}")


def _require(holds: bool, key: str, expected: str, came: Any) -> None:
    if not holds:
        raise CardError(f"card metadata, {key}: expected {expected}, got {came!r}; mend it before pushing")
