"""Repositories, files and commits as the API describes them."""

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from .cards import metadata
from .repositories import Commit, Entry, Repository


def describe_repository(repository: Repository, commit: Commit, blobs: bool) -> dict[str, Any]:
    """Returns the answer to model_info and dataset_info."""
    card = _card(repository, commit)
    described = {
        "_id": repository.key[:24],
        "id": repository.name,
        "author": repository.namespace,
        "sha": commit.id,
        "lastModified": commit.date,
        "createdAt": repository.created,
        "private": repository.private,
        "gated": repository.gated,
        "disabled": False,
        "downloads": 0,
        "downloadsAllTime": 0,
        "likes": 0,
        "trendingScore": 0,
        "tags": _tags(card),
        "cardData": card,
        "siblings": [_sibling(path, entry, blobs) for path, entry in sorted(commit.files.items())],
        "usedStorage": repository.objects.size,
    }
    if repository.kind == "datasets":
        return described
    config = _json_file(repository, commit, "config.json")
    model: dict[str, Any] = {
        "modelId": repository.name,
        "pipeline_tag": card.get("pipeline_tag"),
        "library_name": card.get("library_name"),
        "model-index": card.get("model-index"),
        "config": {key: config[key] for key in ("architectures", "model_type") if key in config},
        "spaces": [],
    }
    return described | model | _safetensors(repository, commit)


def _card(repository: Repository, commit: Commit) -> dict[str, Any]:
    if "README.md" not in commit.files:
        return {}
    try:
        card = metadata(repository.read("README.md", commit.id).decode(errors="replace"))
    except yaml.YAMLError:
        return {}
    # Dates and the like have no form in JSON.
    return json.loads(json.dumps(card, default=str)) if isinstance(card, dict) else {}


def _tags(card: Mapping[str, Any]) -> list[str]:
    def strings(name: str) -> list[str]:
        value = card.get(name) or []
        return [str(one) for one in (value if isinstance(value, list) else [value])]

    marked = [f"{mark}:{one}" for mark in ("license", "base_model") for one in strings(mark)]
    marked += [f"dataset:{one}" for one in strings("datasets")]
    return [*strings("library_name"), *strings("tags"), *strings("language"), *marked]


def _json_file(repository: Repository, commit: Commit, path: str) -> dict[str, Any]:
    try:
        value = json.loads(repository.read(path, commit.id)) if path in commit.files else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _safetensors(repository: Repository, commit: Commit) -> dict[str, Any]:
    entry = commit.files.get("model.safetensors")
    if entry is None:
        return {}
    with repository.objects.path(entry.sha256).open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else entry.size
        if length > entry.size:
            return {}
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return {}
    counts: dict[str, int] = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + math.prod(tensor["shape"])
    return {"safetensors": {"parameters": counts, "total": sum(counts.values())}}


def _sibling(path: str, entry: Entry, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    large = {"sha256": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    plain = {"rfilename": path, "size": entry.size, "blobId": entry.oid}
    return plain | ({"lfs": large} if entry.lfs else {})


def describe_paths(
    repository: Repository, commit: Commit, paths: Iterable[str], expand: bool
) -> list[dict[str, Any]]:
    """Returns files and folders as a tree lists them; paths that do not exist are left out."""
    described = []
    for path in paths:
        if path in commit.files:
            described.append(_file(repository, commit, path, expand))
        elif inside := [(name, e.oid) for name, e in commit.files.items() if name.startswith(f"{path}/")]:
            oid = hashlib.sha1(json.dumps(sorted(inside)).encode(), usedforsecurity=False).hexdigest()
            described.append({"type": "directory", "path": path, "oid": oid, "size": 0})
    return described


def _file(repository: Repository, commit: Commit, path: str, expand: bool) -> dict[str, Any]:
    entry = commit.files[path]
    described = {"type": "file", "path": path, "size": entry.size, "oid": entry.oid}
    if entry.lfs:
        described["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    if expand:
        last = repository.last_change(commit, path)
        described["lastCommit"] = {"id": last.id, "title": last.title, "date": last.date}
        described["securityFileStatus"] = None
    return described


def describe_commit(commit: Commit) -> dict[str, Any]:
    """Returns a commit as the history lists it."""
    return {
        "id": commit.id,
        "title": commit.title,
        "message": commit.description,
        "authors": [{"user": commit.author, "avatar": ""}],
        "date": commit.date,
    }
