"""The second origin, which keeps the large files and knows no tokens, only signed URLs."""

import hmac
import json
from collections.abc import Callable

from .exchange import Refusal, Reply, Request, file_reply, json_reply
from .routing import Routes
from .state import State

routes = Routes()


def answer(state: State) -> Callable[[Request], Reply]:
    """Returns the function that answers the storage's requests."""

    def answered(request: Request) -> Reply:
        if "Authorization" in request.headers:
            raise Refusal(400, "Only one auth mechanism allowed; the signature is in the URL")
        method = "GET" if request.method == "HEAD" else request.method
        given = request.query.get("signature", [""])[0]
        if not hmac.compare_digest(given, state.signature(method, request.path)):
            raise Refusal(403, "SignatureDoesNotMatch")
        reply = routes.answer(state, request)
        if reply is None:
            raise Refusal(404, "NoSuchKey")
        return reply

    return answered


@routes("GET HEAD", "/bucket/{key}/{sha256}")
def _download(state: State, request: Request, key: str, sha256: str) -> Reply:
    return file_reply(request, state.stored(key).path(sha256), {"ETag": f'"{sha256}"'})


@routes("PUT", "/bucket/{key}/{sha256}")
def _upload(state: State, request: Request, key: str, sha256: str) -> Reply:
    if not state.stored(key).receive(request.chunks(), sha256):
        raise Refusal(400, "XAmzContentSHA256Mismatch")
    return Reply(headers={"ETag": f'"{sha256}"'})


@routes("PUT", "/bucket/{key}/{upload}/{number}")
def _upload_part(state: State, request: Request, key: str, upload: str, number: str) -> Reply:
    tag = state.stored(key).receive_part(upload, int(number), request.chunks())
    return Reply(headers={"ETag": f'"{tag}"'})


@routes("POST", "/bucket/{key}/{upload}/complete")
def _complete(state: State, request: Request, key: str, upload: str) -> Reply:
    request.read()
    asked = json.loads(request.body)
    parts = [(part["partNumber"], part["etag"].strip('"')) for part in asked["parts"]]
    repository = state.stored(key)
    # A client that missed the answer asks again.
    if not repository.has(asked["oid"]) and not repository.join_parts(upload, parts, asked["oid"]):
        raise Refusal(400, "InvalidPart")
    return json_reply({"success": True})
