"""The metadata of a README.md: reading it, and a few of the Hub's checks.

The Hub checks more, and its list of licenses is longer. The checks here: the block is a YAML mapping;
`license` is known; `language`, `tags` and `datasets` are strings or lists of strings; `base_model_relation`
is one of four; each result of `model-index` has the fields that the Hub requires.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

_LICENSES = """
apache-2.0 mit isc unlicense zlib wtfpl bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear afl-3.0
artistic-2.0 bsl-1.0 ecl-2.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 mpl-2.0 ms-pl ncsa osl-3.0 postgresql
ofl-1.1 etalab-2.0 c-uda gpl gpl-2.0 gpl-3.0 agpl-3.0 lgpl lgpl-2.1 lgpl-3.0 gfdl pddl odc-by odbl
cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0
cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 openrail openrail++ creativeml-openrail-m
bigscience-openrail-m bigscience-bloom-rail-1.0 llama2 llama3 llama3.1 llama3.2 llama3.3 gemma unknown
other
"""
LICENSES = frozenset(_LICENSES.split())
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
    if index is None:
        return
    if not isinstance(index, list):
        yield '"model-index" must be a list'
        return
    for number, model in enumerate(index):
        place = f"model-index[{number}]"
        results = model.get("results") if isinstance(model, dict) else None
        if not isinstance(model, dict) or not isinstance(model.get("name"), str):
            yield f'"{place}.name" is required'
        if not isinstance(results, list):
            yield f'"{place}.results" must be a list'
            continue
        for count, result in enumerate(results):
            where = f"{place}.results[{count}]"
            yield from _missing(result, where, ("task", "type"), ("dataset", "type"), ("dataset", "name"))
            metrics = result.get("metrics") if isinstance(result, dict) else None
            if not isinstance(metrics, list):
                yield f'"{where}.metrics" must be a list'
                continue
            for position, metric in enumerate(metrics):
                yield from _missing(metric, f"{where}.metrics[{position}]", ("type",), ("value",))


def _missing(value: object, where: str, *paths: tuple[str, ...]) -> Iterator[str]:
    for path in paths:
        inner = value
        for name in path:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if inner is None:
            yield f'"{where}.{".".join(path)}" is required'
