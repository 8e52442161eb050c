"""A server answers as the model does, under many requests; what it cannot read gets one JSON sentence."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny_classifier, tiny_tagger, word_tokenizer

from wellread_hf.models.onnx_graph import write_graph
from wellread_hf.serving.onnx_model import OnnxModel
from wellread_hf.serving.tags import entities

TAGS = ("O", "B-X", "I-X")
NAMES = {"id2label": {0: "bad", 1: "good", 2: "so so"}, "label2id": {"bad": 0, "good": 1, "so so": 2}}
TEXTS = [" ".join(f"word{number * step % 50}" for number in range(1, 3 + step)) for step in range(1, 25)]
# Where torch cannot be imported, as in an environment with the extra `serve` alone.
WITHOUT_TORCH = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "datasets", "sklearn", "pandas"):
            raise ImportError(f"{name} is not installed")
sys.meta_path.insert(0, Without())
from wellread_hf.cli.wellread import main
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a tiny model with random weights."""
    home = tmp_path_factory.mktemp("served")
    _export(tiny_classifier(num_hidden_layers=1, num_labels=3, **NAMES), home)
    return home


def _export(model: Any, home: Path) -> None:
    (home / "onnx").mkdir(exist_ok=True)
    write_graph(model, home / "onnx/model.onnx", segments=True)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(home)
    word_tokenizer().save_pretrained(home)


class Server:
    """A server in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WITHOUT_TORCH, "serve", str(folder), "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/predict", line)
        assert found, line + self.process.communicate()[1]
        self.port = int(found[1])

    def ask(self, body: Any, path: str = "/predict", method: str = "POST", **headers: str) -> tuple[int, Any]:
        """Sends a request; returns the status and the answer."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, sent, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        is_json = answer.headers["content-type"] == "application/json"
        return answer.status, json.loads(text) if is_json else text

    def raw(self, sent: bytes) -> bytes:
        """Sends bytes; returns what comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            found = b""
            while part := connection.recv(65_536):
                found += part
        return found


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    running = Server(folder, "--threads", "1", "--max-body", "20000")
    yield running
    running.process.send_signal(signal.SIGTERM)
    running.process.communicate(timeout=30)


@pytest.fixture(scope="module")
def model(folder: Path) -> OnnxModel:
    return OnnxModel(folder, threads=1)


def test_the_forms_of_text_embeddings_inference_are_taken(server: Server, model: OnnxModel) -> None:
    (expected,) = model.predict(["word1 word2"])
    (pair,) = model.predict([("word1", "word2")])
    for inputs, answer in (
        ("word1 word2", expected),
        (["word1 word2"], expected),
        (["word1", "word2"], pair),
        ([["word1 word2"], ["word1", "word2"]], [expected, pair]),
    ):
        status, found = server.ask({"inputs": inputs, "parameters": {"unknown": 1}})
        assert status == 200
        flat = found if isinstance(found[0], list) else [found]
        wanted = answer if isinstance(answer[0], list) else [answer]
        for ours, theirs in zip(flat, wanted, strict=True):
            assert [each["label"] for each in ours] == [each["label"] for each in theirs]
            np.testing.assert_allclose(
                [each["score"] for each in ours], [each["score"] for each in theirs], atol=1e-5
            )
    _, raw = server.ask({"inputs": "word1 word2", "raw_scores": True})
    assert max(each["score"] for each in raw) == pytest.approx(model.logits(["word1 word2"]).max(), abs=1e-5)


def test_every_one_of_many_clients_gets_the_answer_to_its_own_text(server: Server, model: OnnxModel) -> None:
    expected = {text: ranked for text, ranked in zip(TEXTS, model.predict(TEXTS), strict=True)}
    asked = TEXTS * 10
    with ThreadPoolExecutor(24) as clients:
        found = list(clients.map(lambda text: server.ask({"inputs": text}), asked))
    for text, (status, answer) in zip(asked, found, strict=True):
        assert status == 200
        assert [each["label"] for each in answer] == [each["label"] for each in expected[text]]
        assert answer[0]["score"] == pytest.approx(expected[text][0]["score"], abs=1e-5)


DEEP = b'{"inputs":' + b"[" * 9_000
REQUESTS: list[tuple[int, Any]] = [
    *(
        (422, body)
        for body in (b"", b"{", b"nonsense", b"[1", b"\xff\xfe{", b"null", b"3", b'"text"', b"[]", b"{}")
    ),
    *((422, body) for body in (DEEP, b'{"inputs": ' + b"9" * 6_000 + b"}", b'{"inputs": NaN}', b"\x00" * 50)),
    *((422, {"input": "word1"}), (422, {"inputs": None}), (422, {"inputs": 3}), (422, {"inputs": True})),
    *((422, {"inputs": []}), (422, {"inputs": {}}), (422, {"inputs": ""}), (422, {"inputs": [""]})),
    *((422, {"inputs": [[]]}), (422, {"inputs": [["a"], "b"]}), (422, {"inputs": ["a", ["b"]]})),
    *((422, {"inputs": ["a", "b", "c"]}), (422, {"inputs": [["a", "b", "c"]]}), (422, {"inputs": [[1]]})),
    *((422, {"inputs": [[["a"]]]}), (422, {"inputs": ["a", None]}), (422, {"inputs": [["a", ""]]})),
    *((422, {"inputs": {"text": "a"}}), (422, {"inputs": 1.5}), (422, {"inputs": ["a", 3]})),
    *((422, b'{"inputs": "\\ud800"}'), (422, {"inputs": "a", "truncate": "yes"})),
    *((422, {"inputs": "a", "truncate": 1}), (422, {"inputs": "a", "raw_scores": []})),
    *((413, {"inputs": "word1 " * 100}), (413, {"inputs": [["a"]] * 33}), (413, b" " * 20_001)),
    (413, {"inputs": [["word1"], ["word2 " * 100]]}),
]


@pytest.mark.parametrize(("status", "body"), REQUESTS, ids=range(len(REQUESTS)))
def test_a_request_that_is_refused_gets_one_sentence(status: int, body: Any, server: Server) -> None:
    found, answer = server.ask(body)
    assert (found, set(answer)) == (status, {"error", "error_type"})
    assert "\n" not in answer["error"]
    assert 10 < len(answer["error"]) < 250
    assert "Traceback" not in answer["error"]


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (400, b"GARBAGE\r\n\r\n"),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        (400, b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n"),
        (400, b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: many\r\n\r\n"),
        (400, b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"),
        (400, b"POST /predict HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n"),
        (400, b"POST /predict HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        (400, b"GET /health HTTP/1.1\r\nbad header\r\n\r\n"),
        (413, b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n"),
        (404, b"GET /../../etc/passwd HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        (404, b"GET /%00%ff HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        (405, b"GET /predict HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        (405, b"DELETE /predict HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
    ],
)
def test_what_is_no_request_to_this_server_gets_one_sentence_too(
    status: int, sent: bytes, server: Server
) -> None:
    head, _, body = server.raw(sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d" % status), head
    assert b"content-type: application/json" in head
    assert set(json.loads(body)) == {"error", "error_type"}
    assert server.ask({"inputs": "word1"})[0] == 200, "it still answers"


def test_a_text_that_is_too_long_is_cut_where_a_request_asks_for_it(server: Server) -> None:
    status, answer = server.ask({"inputs": "word1 " * 100, "truncate": True})
    assert (status, len(answer)) == (200, 3)


def test_health_and_metrics_count_what_was_asked(server: Server) -> None:
    assert server.ask(b"", "/health", "GET") == (
        200,
        {"status": "ok", "file": "fp32", "kind": "classification"},
    )

    def counts() -> dict[str, float]:
        status, text = server.ask(b"", "/metrics", "GET")
        assert status == 200
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    before = counts()
    server.ask({"inputs": [["word1"], ["word2"]]})
    server.ask({"inputs": 3})
    after = counts()
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown["wellread_texts_total"] == 2
    assert grown['wellread_requests_total{status="200"}'] == 1
    assert grown['wellread_requests_total{status="422"}'] == 1
    assert grown["wellread_request_seconds_count"] == 2
    assert grown['wellread_request_seconds_bucket{le="+Inf"}'] == 2
    assert after["wellread_waiting_texts"] == 0


def test_a_signal_stops_it_after_the_last_answer(folder: Path) -> None:
    running = Server(folder, "--batch-size", "1", "--threads", "1")
    text = json.dumps({"inputs": "word1 word2", "truncate": True}).encode()
    head = b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(text)
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection:
        # The head and half of the body have come when the signal does.
        connection.sendall(head + text[:10])
        assert running.ask({"inputs": "word1"})[0] == 200
        os.kill(running.process.pid, signal.SIGTERM)
        later = threading.Timer(0.5, connection.sendall, [text[10:]])
        later.start()
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        later.join()
    _, errors = running.process.communicate(timeout=30)
    assert running.process.returncode in (0, -signal.SIGTERM)
    assert errors == ""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", running.port))


def test_predict_labels_texts_and_pairs_where_torch_cannot_be_imported(
    folder: Path, model: OnnxModel
) -> None:
    def run(*words: str, given: str = "") -> str:
        ran = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, "predict", str(folder), *words],
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    first, pair = model.predict(["word1", ("word2", "word3")])
    # A CR before the end of a line is no part of the text.
    lines = run("--json", given="word1\r\nword2\tword3\n").splitlines()
    found = [json.loads(line) for line in lines]
    assert [each["text"] for each in found] == ["word1", "word2\tword3"]
    assert [each["labels"][0]["label"] for each in found] == [first[0]["label"], pair[0]["label"]]
    assert found[0]["labels"][0]["score"] == pytest.approx(first[0]["score"], abs=1e-5)
    assert run("word1").startswith(f"{first[0]['label']} {first[0]['score']:.3f}, ")


def test_a_port_that_is_taken_is_refused_in_one_sentence(server: Server, folder: Path) -> None:
    words = ["serve", str(folder), "--port", str(server.port)]
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    remedy = "give another port, or as --host an address of this machine"
    assert re.fullmatch(rf"error: .*--port \d+ cannot be listened on: .*in use.*; {remedy}\n", ran.stderr)


def test_entities_are_those_of_each_text_alone(tmp_path: Path) -> None:
    """Texts of several lengths are read together; each gets its own words, with their places in it."""
    names = {"id2label": dict(enumerate(TAGS)), "label2id": {tag: n for n, tag in enumerate(TAGS)}}
    _export(tiny_tagger(num_hidden_layers=1, num_labels=3, **names), tmp_path)
    texts = [*TEXTS, " ", "word1,word2 (word3)"]
    expected = entities(OnnxModel(tmp_path, threads=1), texts)
    assert len({each["label"] for found in expected for each in found}) == 1
    server = Server(tmp_path, "--threads", "1")
    try:
        status, found = server.ask({"inputs": [[text] for text in texts]})
        assert status == 200
        with ThreadPoolExecutor(24) as clients:
            alone = list(clients.map(lambda text: server.ask({"inputs": text})[1], texts))
        for text, ours, one, theirs in zip(texts, found, alone, expected, strict=True):
            for answer in (ours, one):
                scores = [each.pop("score") for each in answer]
                np.testing.assert_allclose(scores, [each["score"] for each in theirs], atol=1e-5)
                assert answer == [{k: v for k, v in each.items() if k != "score"} for each in theirs]
                assert all(text[each["start"] : each["end"]] == each["text"] for each in answer)
        for body, sentence in (
            ({"inputs": ["word1", "word2"]}, "expected one text a row"),
            ({"inputs": "word1", "raw_scores": True}, "`raw_scores` must be false"),
            ({"inputs": "word1 \ud800"}, "expected a text in UTF-8"),
        ):
            status, error = server.ask(body)
            assert (status, error["error_type"]) == (422, "Validation")
            assert sentence in error["error"]
        status, error = server.ask({"inputs": "word1 " * 100})
        assert status == 413
        assert server.ask({"inputs": "word1 " * 100, "truncate": True})[0] == 200
    finally:
        server.process.send_signal(signal.SIGTERM)
        server.process.communicate(timeout=30)
