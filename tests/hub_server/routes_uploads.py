"""Before a commit: how each file goes up, and where the large ones go."""

import fnmatch
import uuid
from typing import Any

from .exchange import Refusal, Reply, Request, json_reply
from .repositories import Repository, decode
from .routing import Routes
from .state import State

routes = Routes()


@routes("POST", "/api/{kind}/{repository}/preupload/{revision}")
def _preupload(state: State, request: Request, kind: str, repository: str, revision: str) -> Reply:
    found, asked = state.writable(request, kind, repository), request.json()
    files = found.commit(revision).files
    ignored = asked.get("gitIgnore")
    if ignored is None and ".gitignore" in files:
        ignored = found.read(".gitignore", revision).decode()
    answers = []
    for file in asked["files"]:
        path = file["path"]
        large = found.is_large(path, file["size"], decode(file["sample"]), files)
        answer = {
            "path": path,
            "uploadMode": "lfs" if large else "regular",
            "shouldIgnore": _is_ignored(path, ignored or ""),
        }
        answers.append(answer | ({"oid": files[path].content_id} if path in files else {}))
    return json_reply({"files": answers})


def _is_ignored(path: str, rules: str) -> bool:
    parts = path.split("/")
    # A rule of one word takes a file or a folder anywhere, one with a slash a path from the top.
    starts = [*parts, *("/".join(parts[: count + 1]) for count in range(len(parts)))]
    patterns = [
        line.strip().strip("/") for line in rules.splitlines() if line.strip() and line[0] not in "#!"
    ]
    return any(fnmatch.fnmatch(start, pattern) for start in starts for pattern in patterns)


@routes("POST", "/{prefix}{repository}.git/info/lfs/objects/batch")
def _batch(state: State, request: Request, prefix: str, repository: str) -> Reply:
    found, asked = state.writable(request, prefix.strip("/") or "models", repository), request.json()
    if asked.get("operation") != "upload" or asked.get("hash_algo", "sha256") != "sha256":
        raise Refusal(400, "Only uploads by SHA-256 are known here")
    objects = []
    multipart = "multipart" in asked.get("transfers", [])
    for one in asked["objects"]:
        answer = {"oid": one["oid"], "size": one["size"]}
        if not found.objects.has(one["oid"], one["size"]):
            verify = f"{state.endpoint}/{prefix}{repository}.git/info/lfs/objects/verify"
            upload = _upload(state, found, one["oid"], one["size"], multipart)
            answer["actions"] = {"upload": upload, "verify": {"href": verify}}
        objects.append(answer)
    any_multipart = any(
        "chunk_size" in one.get("actions", {}).get("upload", {}).get("header", {}) for one in objects
    )
    return json_reply({"transfer": "multipart" if any_multipart else "basic", "objects": objects})


def _upload(state: State, repository: Repository, oid: str, size: int, multipart: bool) -> dict[str, Any]:
    if not multipart or size <= state.multipart_above:
        return {"href": state.signed("PUT", f"/bucket/{repository.key}/{oid}"), "header": {}}
    place = f"/bucket/{repository.key}/{uuid.uuid4().hex}"
    count = -(-size // state.part_size)
    parts = {f"{number:05}": state.signed("PUT", f"{place}/{number}") for number in range(1, count + 1)}
    header = {"chunk_size": str(state.part_size), **parts}
    return {"href": state.signed("POST", f"{place}/complete"), "header": header}


@routes("POST", "/{prefix}{repository}.git/info/lfs/objects/verify")
def _verify(state: State, request: Request, prefix: str, repository: str) -> Reply:
    found, asked = state.writable(request, prefix.strip("/") or "models", repository), request.json()
    if not found.objects.has(asked["oid"], asked["size"]):
        raise Refusal(404, "The object is not in the storage, or has another size")
    return json_reply({"message": "Upload verified"})
