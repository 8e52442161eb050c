"""An exported model beside `pipeline`: text to label, many rows, start and memory, file; a server's clients.

  python -m benchmarks --only serve

Both sides have one thread. The weights are random, since speed does not depend on them. Rows:
benchmarks/sst2.py. Ours is int8, as `wellread predict` takes it by default. The server has 200 clients at
once for a minute, each of which asks again as soon as it is answered; it is measured beside itself with one
text at a time.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.figures import Figure, compared
from benchmarks.pairs import in_turn
from benchmarks.sst2 import LABELS, classifier, rows, tokenizer

NAME = "serve"
MINILM = "6-384 (MiniLM)"
# Targets of text to label, one row a call.
TARGETS = {"2-128": 7.0, "4-512": 5.0, MINILM: 3.5}
_ROWS, _BATCH, _ONE_BY_ONE = 1_000, 32, 100
CLIENTS, _SECONDS = 200, 60.0
# Each side's program: from nothing to the answer to one text, and the highest memory on the way.
_STARTS = {
    "ours": "from pathlib import Path; from wellread_hf.serving.onnx_model import OnnxModel; "
    "print(OnnxModel(Path({folder!r}), threads=1).predict([{text!r}]))",
    "theirs": "import torch; torch.set_num_threads(1); from transformers import pipeline; "
    "print(pipeline('text-classification', {folder!r})({text!r}))",
}
_STATUS = "; print(open('/proc/self/status').read())"
_PIPELINE = 'pipeline("text-classification")'


def run(rounds: int, quick: bool) -> list[Figure]:
    """Measures each model, then the server with the last."""
    import torch

    torch.set_num_threads(1)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in list(TARGETS)[: 1 if quick else None]:
            home = Path(folder) / name.partition(" ")[0]
            _save(name, home)
            figures += _answers(name, home, rounds, 64 if quick else _ROWS)
            figures.append(_file(name, home))
            if name == "2-128":
                figures += _starts(name, home, 1 if quick else rounds)
        figures.append(_server(name, home, 1.0 if quick else _SECONDS))
    return figures


def _save(name: str, home: Path) -> None:
    """Writes a model as `save_pretrained` and as an export do, in one folder."""
    from wellread_hf.models.onnx_graph import write_graph, write_int8

    if name == MINILM:
        from transformers import BertConfig, BertForSequenceClassification

        sizes = {"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1_536}
        model = BertForSequenceClassification(BertConfig(**sizes, id2label=dict(enumerate(LABELS))))
    else:
        model = classifier(name)
    model.save_pretrained(home)
    tokenizer().save_pretrained(home)
    (home / "onnx").mkdir()
    write_graph(model, home / "onnx/model.onnx", segments=True)
    write_int8(home / "onnx/model.onnx", home / "onnx/model_quantized.onnx")


def _answers(name: str, home: Path, rounds: int, count: int) -> list[Figure]:
    """Compares one row a call, and all rows at once."""
    from transformers import pipeline

    from wellread_hf.serving.onnx_model import OnnxModel

    texts = [text for (text,) in rows(count)[0]]
    model = OnnxModel(home, threads=1)
    piped = pipeline("text-classification", str(home))
    found = [each[0]["label"] for each in model.predict(texts)]
    expected = [each["label"] for each in piped(texts, batch_size=_BATCH)]
    alike = float(np.mean([one == other for one, other in zip(found, expected, strict=True)]))
    exact = OnnxModel(home, "fp32", threads=1).logits(texts)
    names = [max(zip(row, LABELS, strict=True))[1] for row in exact.tolist()]
    wrong = sum(one != other for one, other in zip(names, expected, strict=True))
    # In fp32 only a tie may fall either way.
    assert wrong <= count / 200, f"{wrong} of {count} labels of the graph in fp32 are not the pipeline's"
    same = f"{100 * alike:.1f} % of the labels are the same, in fp32 all but {wrong}"

    def one_by_one(answer: Callable[[str], Any]) -> Callable[[], float]:
        return lambda: median(1_000 * _seconds(partial(answer, text)) for text in texts[:_ONE_BY_ONE])

    cases = {
        "a row a call": (
            TARGETS[name],
            one_by_one(lambda text: model.predict([text])),
            one_by_one(piped),
        ),
        f"{count:,} rows": (
            6.0 if name == "2-128" else None,
            lambda: 1_000 * _seconds(lambda: model.predict(texts)) / count,
            lambda: 1_000 * _seconds(lambda: piped(texts, batch_size=_BATCH)) / count,
        ),
    }
    figures = []
    for case, (target, ours, theirs) in cases.items():
        values, others = in_turn(ours, theirs, rounds)
        figures.append(_figure(f"{name}, {case}", _PIPELINE, "CPU ms a row", values, others, target, same))
    return figures


def _figure(
    case: str,
    theirs: str,
    unit: str,
    values: tuple[float, ...],
    others: tuple[float, ...],
    target: float | None,
    same: str,
    note: str = "",
) -> Figure:
    return Figure(
        benchmark=NAME,
        case=case,
        ours="int8",
        theirs=theirs,
        unit=unit,
        ours_values=values,
        theirs_values=others,
        ratios=compared(values, others, "lower"),
        target=target,
        better="lower",
        same=same,
        note=note,
    )


def _seconds(call: Callable[[], object]) -> float:
    # Of the processor: with one thread that is the time of an idle machine. On a busy one a long call waits
    # for its turn more often than a short one, which would flatter ours.
    started = time.process_time()
    call()
    return time.process_time() - started


def _file(name: str, home: Path) -> Figure:
    sizes = [
        (home / file).stat().st_size / 1e6 for file in ("onnx/model_quantized.onnx", "model.safetensors")
    ]
    # 0.27 of the weights in fp32.
    return _figure(
        f"{name}, file", "fp32 safetensors", "MB", (sizes[0],), (sizes[1],), 1 / 0.27, "the same model"
    )


def _starts(name: str, home: Path, rounds: int) -> list[Figure]:
    """Compares fresh processes: seconds to the first answer, and the highest memory on the way."""
    (text,) = rows(1)[0][0]
    peaks: dict[str, list[float]] = {"ours": [], "theirs": []}

    def start(side: str) -> Callable[[], float]:
        program = _STARTS[side].format(folder=str(home), text=text) + _STATUS

        def once() -> float:
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", program],
                env=os.environ | {"HF_HUB_OFFLINE": "1"},
                capture_output=True,
                text=True,
                check=True,
            )
            taken = time.perf_counter() - started
            # Not the kernel's account of children, which begins with the parent's memory.
            peaks[side].append(int(done.stdout.partition("VmHWM:")[2].split()[0]) / 1_024)
            return taken

        return once

    values, others = in_turn(start("ours"), start("theirs"), rounds)
    # The first of each is the warm-up.
    memory, other_memory = (tuple(peaks[side][1:]) for side in peaks)
    same = "both answer one text"
    return [
        _figure(f"{name}, fresh process to answer", _PIPELINE, "s", values, others, 15.0, same),
        _figure(f"{name}, its peak memory", _PIPELINE, "MB", memory, other_memory, 6.0, same),
    ]


def _server(name: str, home: Path, seconds: float) -> Figure:
    """Compares the server with itself without batches: the 99 % quantile of waiting."""
    texts = [text for (text,) in rows(_ROWS)[0]]
    found = {size: _served(home, texts, seconds, "--batch-size", str(size)) for size in (_BATCH, 1)}
    p99, counts = ({size: each[place] for size, each in found.items()} for place in (0, 1))
    return _figure(
        f"{name}, server, {CLIENTS} clients",
        "one text at a time",
        "ms, p99",
        (p99[_BATCH],),
        (p99[1],),
        None,
        f"every one of {sum(counts.values()):,} requests was answered",
        f"{counts[_BATCH] / seconds:,.0f} answers a second beside {counts[1] / seconds:,.0f}",
    )


def _served(home: Path, texts: list[str], seconds: float, *options: str) -> tuple[float, int]:
    """Returns the 99 % quantile of milliseconds, and how many requests were answered: all that were sent."""
    command = [sys.executable, "-m", "wellread_hf.cli.wellread", "serve", str(home), "--port", "0"]
    with subprocess.Popen(
        [*command, "--threads", "1", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(":")[2].partition("/")[0])
            taken = asyncio.run(_clients(port, texts, seconds))
        finally:
            process.terminate()
    return float(np.percentile(taken, 99)) * 1_000, len(taken)


async def _clients(port: int, texts: list[str], seconds: float) -> list[float]:
    end = time.perf_counter() + seconds
    found = await asyncio.gather(*(_client(port, texts[place:], end) for place in range(CLIENTS)))
    return [taken for each in found for taken in each]


async def _client(port: int, texts: list[str], end: float) -> list[float]:
    """Asks on one connection until the end; returns the seconds of each answer, which has to be one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    taken: list[float] = []
    while time.perf_counter() < end:
        body = json.dumps({"inputs": texts[len(taken) % len(texts)]}).encode()
        started = time.perf_counter()
        head = f"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(answer.partition("content-length: ")[2].partition("\r\n")[0])
        labels = json.loads(await reader.readexactly(length))
        assert answer.startswith("http/1.1 200 "), labels
        assert {each["label"] for each in labels} == set(LABELS), labels
        taken.append(time.perf_counter() - started)
    writer.close()
    return taken
