"""An HTTP server on 127.0.0.1 that answers from a route table, keeps a log and obeys the faults."""

import socket
import struct
import sys
import threading
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .exchange import Refusal, Reply, Request
from .faults import Fault, Faults
from .state import User


@dataclass
class Record:
    """A request in the log; `status` stays None if the connection drops before there is an answer."""

    origin: str
    method: str
    path: str
    headers: list[tuple[str, str]]
    user: str | None = None
    received: int = 0
    status: int | None = None


class _Drop(Exception):
    """The connection is to end here."""


class Origin(ThreadingHTTPServer):
    """One origin; `answer` turns a request into a reply."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        name: str,
        answer: Callable[[Request], Reply],
        identify: Callable[[Request], User | None],
        faults: Faults,
        log: list[Record],
        failures: list[str],
        *,
        buffered: bool,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name, self.answer, self.identify, self.buffered = name, answer, identify, buffered
        self.faults, self.log, self.failures = faults, log, failures
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        """The port that was free."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Ends all connections."""
        self.closing.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        # A client keeps its connections; a thread would go on answering on them.
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # That a client goes away is no failure of the server.
        if not isinstance(sys.exception(), ConnectionError):
            self.failures.append(traceback.format_exc())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Origin

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        request = Request(self.command, self.path, self.headers, self.rfile)
        request.user = self.server.identify(request)
        user = request.user.name if request.user else None
        record = Record(self.server.name, request.method, request.target, list(self.headers.items()), user)
        self.server.log.append(record)
        faults = self.server.faults.on(request)
        try:
            self._arrive(request, faults)
            reply = self._act(request, faults)
            self._leave(request, reply, faults, record)
        except _Drop:
            self._reset()
        finally:
            record.received = request.received

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _arrive(self, request: Request, faults: list[Fault]) -> None:
        for fault in faults:
            if fault.kind == "drop_before":
                raise _Drop
            if fault.kind == "drop_upload":
                request.skip(fault.cut(request.length))
                raise _Drop
        if self.server.buffered:
            request.read()

    def _act(self, request: Request, faults: list[Fault]) -> Reply:
        for fault in faults:
            if fault.kind == "delay":
                self.server.closing.wait(fault.seconds)
            if fault.kind == "before" and fault.call:
                fault.call(request)
        stopped = [fault for fault in faults if fault.kind == "status"]
        reply = stopped[0].reply() if stopped else self._answer(request)
        # The client is not listening before it has said everything.
        request.skip()
        for fault in faults:
            if fault.kind == "after" and fault.call:
                fault.call(request)
            if fault.kind == "drop_after":
                raise _Drop
            if fault.kind == "status_after":
                reply = fault.reply()
        return reply

    def _answer(self, request: Request) -> Reply:
        if "Transfer-Encoding" in request.headers:
            self.close_connection = True
            return Refusal(411, "Length required").reply
        try:
            return self.server.answer(request)
        except Refusal as refusal:
            return refusal.reply
        except ConnectionError:
            raise
        except Exception:
            # Not swallowed: the hub raises it at its end, or a fault of its own would pass for the client's.
            self.server.failures.append(traceback.format_exc())
            return Refusal(500, "The test server failed").reply

    def _leave(self, request: Request, reply: Reply, faults: list[Fault], record: Record) -> None:
        record.status, record.received = reply.status, request.received
        self.send_response(reply.status)
        for name, text in reply.headers.items():
            self.send_header(name, text)
        self.send_header("X-Request-Id", uuid.uuid4().hex)
        self.send_header("Content-Length", str(reply.length))
        cut = next((fault for fault in faults if fault.kind == "drop_answer"), None)
        if cut is None:
            self.end_headers()
            if request.method != "HEAD":
                for chunk in reply.chunks():
                    self.wfile.write(chunk)
            return
        if request.method == "HEAD" or not reply.length:
            # Nothing but the head is there to be cut: it lacks its last line.
            self.flush_headers()
        else:
            self.end_headers()
            left = cut.cut(reply.length)
            for chunk in reply.chunks():
                self.wfile.write(chunk[:left])
                left -= len(chunk[:left])
        if not cut.clean:
            raise _Drop
        self.close_connection = True

    def _reset(self) -> None:
        self.close_connection = True
        # With no time to linger, closing sends a reset in place of an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()
