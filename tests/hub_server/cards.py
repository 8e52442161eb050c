"""The metadata of a README.md: reading it, and a few of the Hub's checks.

The Hub checks more, and its list of licenses is much longer. The checks here: the block is a YAML mapping;
`license` is known; `language`, `tags` and `datasets` are strings or lists of strings; `base_model_relation`
is one of four; each result of `model-index` has the fields that the Hub requires.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

LICENSES = frozenset({"apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "unknown", "other"})
RELATIONS = ("finetune", "quantized", "adapter", "merge")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*|code|multilingual")


def metadata(card: str) -> Any:
    """Returns what stands between the two lines of dashes, or None; raises `yaml.YAMLError`."""
    block = re.match(r"\ufeff?---\r?\n(.*?)^---\s*$", card, re.DOTALL | re.MULTILINE)
    return yaml.safe_load(block[1]) if block else None


def check(card: str) -> tuple[list[str], list[str]]:
    """Returns the errors and the warnings about a card."""
    try:
        data = metadata(card)
    except yaml.YAMLError as error:
        return [f"Invalid YAML: {error}"], []
    if data is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(data, dict):
        return ['"metadata" must be a mapping'], []
    return [*_field_errors(data), *_result_errors(data.get("model-index"))], []


def _strings(value: object) -> list[str] | None:
    values = value if isinstance(value, list) else [value]
    strings = [one for one in values if isinstance(one, str)]
    return strings if len(strings) == len(values) else None


def _field_errors(data: dict[str, Any]) -> Iterator[str]:
    for name in ("license", "language", "datasets"):
        if name in data and _strings(data[name]) is None:
            yield f'"{name}" must be a string or a list of strings'
    for license in _strings(data.get("license", [])) or []:
        if license not in LICENSES:
            yield f'"license" must be one of the known ones, or "other": {license!r}'
    for language in _strings(data.get("language", [])) or []:
        if not _LANGUAGE.fullmatch(language):
            yield f'"language" must be ISO 639 codes: {language!r}'
    if "tags" in data and (not isinstance(data["tags"], list) or _strings(data["tags"]) is None):
        yield '"tags" must be a list of strings'
    if data.get("base_model_relation", "finetune") not in RELATIONS:
        yield f'"base_model_relation" must be one of {", ".join(RELATIONS)}'


def _result_errors(index: object) -> Iterator[str]:
    for number, model in enumerate(_list(index)):
        place = f"model-index[{number}]"
        yield from _missing(model, place, ("name",), ("results",))
        for count, result in enumerate(_list(model.get("results") if isinstance(model, dict) else None)):
            where = f"{place}.results[{count}]"
            required = (("task", "type"), ("dataset", "type"), ("dataset", "name"), ("metrics",))
            yield from _missing(result, where, *required)
            for position, metric in enumerate(
                _list(result.get("metrics") if isinstance(result, dict) else None)
            ):
                yield from _missing(metric, f"{where}.metrics[{position}]", ("type",), ("value",))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _missing(value: object, where: str, *paths: tuple[str, ...]) -> Iterator[str]:
    for path in paths:
        inner = value
        for name in path:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if inner is None:
            yield f'"{where}.{".".join(path)}" is required'
