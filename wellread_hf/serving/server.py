"""An HTTP server for an exported model, in the form of text-embeddings-inference; loads no torch.

`POST /predict` takes `{"inputs": ..., "truncate": false, "raw_scores": false}`. Inputs are a text, a pair
`[a, b]`, or a batch of lists of one or two texts. The answer is a list of `label` and `score`, best first, or
one a text of a batch. Of a classifier of words it is a text's entities. `GET /health` and `GET /metrics`
(Prometheus) are for those who run it. Every error is `{"error": SENTENCE, "error_type": WORD}`.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from time import perf_counter
from typing import Any

import h11
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from wellread_hf.errors import SettingsError, WellreadError, library_errors_as
from wellread_hf.serving.batches import Batches
from wellread_hf.serving.onnx_model import OnnxModel
from wellread_hf.serving.requests import Refused, asked_of, check_words, flag, texts_of
from wellread_hf.serving.tags import found_in, words_read
from wellread_hf.settings import Serve

# A client that sends a body this slowly holds a connection for nothing.
_BODY_SECONDS = 10
# Bytes of a body that is encoded in a millisecond or two.
_SHORT = 4096
# Under a proxy's usual minute.
_STOP_SECONDS = 30
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_WORDS = {404: "NotFound", 405: "NotAllowed", 408: "Timeout", 413: "Validation", 429: "Overloaded"}


def application(model: OnnxModel, settings: Serve) -> Starlette:
    """Returns the ASGI application of a model."""
    service = _Service(model, settings)
    return Starlette(
        routes=[
            Route("/predict", service.predict, methods=["POST"]),
            Route("/health", service.health, methods=["GET"]),
            Route("/metrics", service.metrics, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _defect},
        lifespan=service.lifespan,
    )


def serve(model: OnnxModel, settings: Serve, ready: Callable[[str], None]) -> None:
    """Serves a model until a signal asks for the end; requests that have come in by then are answered.

    Args:
        model: The model.
        settings: Where, and how much at once.
        ready: Called with the address when it listens.

    Raises:
        SettingsError: Nothing can listen there.
    """
    where = f"`host` {settings.host}, `port` {settings.port}"
    # uvicorn would end the program itself, with a status that is another of ours.
    with library_errors_as(
        SettingsError,
        f"{where} cannot be listened on",
        "give another port, or as `host` an address of this machine",
    ):
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listening = socket.create_server((settings.host, settings.port), family=family)
    config = uvicorn.Config(
        application(model, settings),
        http=_Protocol,
        ws="none",
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
        h11_max_incomplete_event_size=64 * 1024,
    )
    _Server(config, ready).run([listening])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port, *_ = self.servers[0].sockets[0].getsockname()
            self._ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")


class _Protocol(H11Protocol):
    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP in the form of all other errors."""
        body = _error(400, "expected a request in HTTP/1.1, got something else").body
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        for event in (
            h11.Response(status_code=400, headers=headers),
            h11.Data(data=bytes(body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class _Service:
    """What the routes share: the model, the queue before it, the counts."""

    def __init__(self, model: OnnxModel, settings: Serve) -> None:
        self.model, self.settings = model, settings
        self.batches = Batches(model, settings.batch_size)
        self.statuses: Counter[int] = Counter()
        self.seconds: Counter[float] = Counter()
        self.sum = 0.0
        self.texts = 0

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Keeps the queue moving; it ends after the last connection."""
        working = asyncio.create_task(self.batches.work())
        yield
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working

    async def health(self, _: Request) -> Response:
        """Says that the model answers."""
        return JSONResponse({"status": "ok", "file": self.model.file, "kind": self.model.kind})

    async def metrics(self, _: Request) -> Response:
        """Returns the counts in Prometheus's text format."""
        lines = ["# TYPE wellread_requests_total counter"]
        lines += [
            f'wellread_requests_total{{status="{status}"}} {n}' for status, n in sorted(self.statuses.items())
        ]
        lines += ["# TYPE wellread_request_seconds histogram"]
        total = 0
        for bound in _BUCKETS:
            total += self.seconds[bound]
            lines.append(f'wellread_request_seconds_bucket{{le="{bound}"}} {total}')
        count = self.seconds.total()
        lines += [
            f'wellread_request_seconds_bucket{{le="+Inf"}} {count}',
            f"wellread_request_seconds_sum {self.sum}",
            f"wellread_request_seconds_count {count}",
        ]
        for name, kind, value in (
            ("texts_total", "counter", self.texts),
            ("batches_total", "counter", self.batches.count),
            ("waiting_texts", "gauge", self.batches.waiting),
        ):
            lines += [f"# TYPE wellread_{name} {kind}", f"wellread_{name} {value}"]
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")

    async def predict(self, request: Request) -> Response:
        """Answers the texts of one request."""
        started = perf_counter()
        try:
            response: Response = JSONResponse(await self._answer(request))
        except Refused as error:
            response = _error(error.status, str(error))
        except WellreadError as error:
            response = _error(422, str(error))
        self.statuses[response.status_code] += 1
        taken = perf_counter() - started
        self.seconds[next((bound for bound in _BUCKETS if taken <= bound), float("inf"))] += 1
        self.sum += taken
        return response

    async def _answer(self, request: Request) -> Any:
        body = await self._body(request)
        asked = asked_of(body)
        texts, single = texts_of(asked.get("inputs"))
        most = self.settings.max_texts
        if len(texts) > most:
            raise Refused(
                413, f"expected at most {most} texts a request, got {len(texts)}; send several requests"
            )
        if self.batches.waiting + len(texts) > self.settings.max_waiting:
            raise Refused(
                429, f"{self.batches.waiting} texts are waiting for the model; try again in a moment"
            )
        raw = flag(asked, "raw_scores")
        # Of a short text the way to a thread takes longer than encoding it; a long one lets others go on.
        short, tagging = len(body) <= _SHORT, self.model.kind == "tagging"
        if tagging:
            check_words(texts, raw)
        encode = self._words if tagging else self.model.encode
        read = encode(texts) if short else await asyncio.to_thread(encode, texts)
        rows = [each.encoding for each in read] if tagging else read
        if not flag(asked, "truncate") and any(row.overflowing for row in rows):
            raise Refused(
                413,
                f"expected texts of at most {self.model.max_length} tokens, got a longer one; shorten it, or "
                "send `truncate` true",
            )
        logits = await self.batches.answer(rows)
        self.texts += len(rows)
        if tagging:
            answers = zip(read, logits, strict=True)
            found: list[Any] = [found_in(self.model, each, of_words) for each, of_words in answers]
        else:
            found = self._said(np.stack(logits), raw)
        return found[0] if single else found

    def _words(self, texts: Sequence[Any]) -> list[Any]:
        return [words_read(self.model, text) for text in texts]

    def _said(self, logits: Any, raw: bool) -> list[Any]:
        scores = logits if raw else self.model.probabilities(logits)
        said: list[Any] = scores.tolist() if self.model.kind == "features" else self.model.ranked(scores)
        return said

    async def _body(self, request: Request) -> bytes:
        most, found = self.settings.max_body, bytearray()
        too_long = Refused(413, f"expected a body of at most {most:,} bytes, got more; send fewer texts")
        try:
            if int(request.headers.get("content-length", 0)) > most:
                raise too_long
            async with asyncio.timeout(_BODY_SECONDS):
                async for part in request.stream():
                    found += part
                    if len(found) > most:
                        raise too_long
        except TimeoutError:
            raise Refused(408, f"expected the whole body within {_BODY_SECONDS} seconds") from None
        except ClientDisconnect:
            raise Refused(400, "the client went away before its body had come") from None
        return bytes(found)


def _error(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    word = _WORDS.get(status, "Backend" if status >= 500 else "Validation")
    return JSONResponse({"error": sentence, "error_type": word}, status, headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentences = {404: "there is no such path", 405: "this path does not take that method"}
    known = "; POST /predict, GET /health and GET /metrics are there"
    return _error(error.status_code, sentences.get(error.status_code, error.detail) + known, error.headers)


async def _defect(request: Request, error: Exception) -> Response:
    return _error(500, f"this is a defect of wellread_hf, not of the request: {type(error).__name__}")
