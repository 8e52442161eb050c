"""A model in one format, from texts to labels; what it takes, timed beside others on this machine."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Literal

from wellread_hf.errors import ExportError
from wellread_hf.serving import tags
from wellread_hf.serving.export_facts import File, kind_of
from wellread_hf.serving.machine import machine
from wellread_hf.serving.onnx_model import OnnxModel, Text
from wellread_hf.serving.openvino_model import openvino_model
from wellread_hf.serving.timing import Timings, in_turn
from wellread_hf.settings.measure import FORMATS, Format
from wellread_hf.store.records import json_object, write_atomically

# From texts to whatever a model says of them.
Answer = Callable[[Sequence[Text]], object]
Length = int | Literal["rows"]

# The file that each format reads.
GRAPHS: Mapping[Format, File] = {"onnx-fp32": "fp32", "onnx-int8": "int8", "openvino": "fp32"}
# The formats that an export scores; OpenVINO's is the fp32 file in another runtime.
EXPORTED: tuple[Format, ...] = ("onnx-fp32", "onnx-int8")
_WORDS = "token-classification"
# Even a busy machine is usually steady in one of this many tries.
_TRIES = 3
# A fresh process: from nothing to one answer; then it says its peak memory in kilobytes.
_ONE = {
    "torch": "from transformers import pipeline; "
    "pipeline(sys.argv[3], sys.argv[1], device='cpu')(json.loads(sys.argv[2]))",
    "onnx-fp32": "from wellread_hf.serving.onnx_model import OnnxModel; "
    "from wellread_hf.serving.tags import answer; "
    "answer(OnnxModel(Path(sys.argv[1]), 'fp32', 1), [json.loads(sys.argv[2])])",
    "onnx-int8": "from wellread_hf.serving.onnx_model import OnnxModel; "
    "from wellread_hf.serving.tags import answer; "
    "answer(OnnxModel(Path(sys.argv[1]), 'int8', 1), [json.loads(sys.argv[2])])",
    "openvino": "from wellread_hf.serving.openvino_model import openvino_model; "
    "from wellread_hf.serving.tags import answer; "
    "answer(openvino_model(Path(sys.argv[1]), 1), [json.loads(sys.argv[2])])",
}
# Not by getrusage on Linux: a process starts there with the peak of the one that forked it.
_PEAK = """
status = Path("/proc/self/status")
if status.exists():
    print(status.read_text().partition("VmHWM:")[2].split()[0])
else:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A model in one format.

    Attributes:
        model: What it is called.
        format: One of `FORMATS`.
        bytes: Of its weights or its graph.
        positions: Tokens that it can take.
        folder: Where its files lie as long as it is timed.
        opened: From threads and tokens a row (None: the model's own) to what answers texts.
        facts: What records say of it beside that.
    """

    model: str
    format: Format
    bytes: int
    positions: int
    folder: Path
    opened: Callable[[int, int | None], Answer]
    facts: Mapping[str, Any]

    def record(self, points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Returns what a record says of it; `points` as `latencies` gives them."""
        about = {"model": self.model, **self.facts, "format": self.format, "bytes": self.bytes}
        return about | {"latency": list(points)}


def formats_here(wanted: Sequence[Format]) -> list[Format]:
    """Returns the formats that this machine can read."""
    return [each for each in FORMATS if each in wanted and (each != "openvino" or find_spec("openvino"))]


def torch_answer(model: Any, tokenizer: Any, threads: int, max_length: int | None) -> Answer:
    """Opens a classifier in torch as its users do: by a pipeline.

    Args:
        model: A classifier, or its folder.
        tokenizer: Its tokenizer; None: that of the folder.
        threads: Threads of torch.
        max_length: Tokens a row; None: the tokenizer's.
    """
    import torch
    from transformers import pipeline

    kind: Any = _pipeline(model)
    made: Any = pipeline(kind, model=model, tokenizer=tokenizer, device="cpu", dtype=torch.float32)
    cut = {"truncation": True} | ({} if max_length is None else {"max_length": max_length})
    if kind == _WORDS:
        # It takes neither option, and cuts texts at the tokenizer's length.
        cut = {}
        made.tokenizer.model_max_length = max_length or made.tokenizer.model_max_length

    def answer(texts: Sequence[Text]) -> object:
        # Of the whole process, so another candidate's number would count.
        torch.set_num_threads(threads)
        given = [*map(_as_given, texts)]
        return made(given, batch_size=len(given), **cut)

    return answer


def _pipeline(model: Any) -> str:
    """Returns the kind of pipeline that a classifier, or the one in a folder, is used by."""
    stored = isinstance(model, str)
    config = json_object(Path(model) / "config.json") if stored else {"architectures": [type(model).__name__]}
    return _WORDS if kind_of(config) == "tagging" else "text-classification"


def _as_given(text: Text) -> Any:
    """Returns a text as a pipeline takes it."""
    return text if isinstance(text, str) else {"text": text[0], "text_pair": text[1]}


def graph_answer(folder: Path, form: Format, threads: int, max_length: int | None) -> Answer:
    """Opens an export in ONNX Runtime, or in OpenVINO, which reads its fp32 graph."""
    if form == "openvino":
        return partial(tags.answer, openvino_model(folder, threads, max_length))
    return partial(tags.answer, OnnxModel(folder, GRAPHS[form], threads, max_length))


def steadily(calls: Mapping[str, Callable[[], object]], seconds: float) -> Timings:
    """Times calls in turn, again where the first of them, the reference, became slower or faster."""
    reference = next(iter(calls))
    found = [in_turn(calls, seconds)]
    while len(found) < _TRIES and not found[-1].steady(reference):
        found.append(in_turn(calls, seconds))
    return min(found, key=lambda each: each.moved(reference))


def latencies(
    candidates: Sequence[Timed],
    texts: Callable[[Timed, Length], Sequence[Text]],
    points: Sequence[tuple[int, Length]],
    threads: int,
    seconds: float,
) -> list[list[dict[str, Any]]]:
    """Times candidates beside one another, from texts to labels.

    Args:
        candidates: The first is the reference.
        texts: The texts of a candidate at a length, for one batch after another.
        points: Rows a batch, and tokens a text, or the rows as they are.
        threads: Threads of each.
        seconds: About how long each is timed at each point.

    Returns:
        Of each candidate its figures as records have them; none at lengths that it cannot take.
        `p50_ms`, `p95_ms`, `p99_ms` and `per_second` are None where the reference was not steady, a
        quantile also where there were too few calls for it. `ratio` is above 1 where a candidate is faster
        than the reference.
    """
    found: list[list[dict[str, Any]]] = [[] for _ in candidates]
    # Opened once: at lengths of our own up to all positions, and as rows are cut in use.
    opened: dict[tuple[int, bool], Answer] = {}
    for batch, length in points:
        own = length == "rows"
        calls: dict[str, Callable[[], object]] = {}
        for number, each in enumerate(candidates):
            if not own and int(length) > each.positions:
                continue
            if (number, own) not in opened:
                opened[number, own] = each.opened(threads, None if own else each.positions)
            rows = list(texts(each, length))
            rows *= -(-batch // len(rows))
            batches = [rows[start : start + batch] for start in range(0, len(rows), batch)]
            # A last one that is smaller would be another measurement.
            whole = cycle([some for some in batches if len(some) == len(batches[0])])
            calls[str(number)] = partial(_next, opened[number, own], whole)
        if not calls:
            continue
        timings, reference = steadily(calls, seconds * len(calls)), next(iter(calls))
        steady = timings.steady(reference)
        for name in calls:
            quantiles, ratio = timings.milliseconds(name), timings.ratio(name, reference)
            shown = {f"p{percent}_ms": ms if steady else None for percent, ms in quantiles.items()}
            p50 = shown["p50_ms"]
            found[int(name)].append(
                {
                    "threads": threads,
                    "batch": batch,
                    "length": length,
                    **shown,
                    "per_second": None if p50 is None else 1e3 * batch / p50,
                    "ratio": ratio.value,
                    "interval": [ratio.low, ratio.high],
                }
            )
    return found


def _next(answer: Answer, batches: Any) -> object:
    return answer(next(batches))


def fresh_start(folder: Path, form: Format, text: Text) -> tuple[float, float]:
    """Starts a process that answers one text; returns the seconds until then, and its peak memory in MB.

    Raises:
        ExportError: It did not answer.
    """
    code = f"import json, sys; from pathlib import Path; {_ONE[form]}"
    given = _as_given(text) if form == "torch" else text
    kind = _pipeline(str(folder)) if form == "torch" else ""
    started = perf_counter()
    # Unlike the time, memory is the process's own, so what it says is all that has to be read.
    ran = subprocess.run(
        [sys.executable, "-c", code + _PEAK, str(folder), json.dumps(given), kind],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = perf_counter() - started
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise ExportError(f"{folder} does not answer in a fresh process: {last}; export it again")
    return seconds, int(ran.stdout.split()[-1]) * 1024 / 1e6


def starts(candidates: Sequence[tuple[Path, Format]], text: Text, times: int) -> list[dict[str, float]]:
    """Starts each candidate in fresh processes, in turn; returns the medians."""
    found: list[list[tuple[float, float]]] = [[] for _ in candidates]
    for _ in range(times):
        for each, (folder, form) in zip(found, candidates, strict=True):
            each.append(fresh_start(folder, form, text))
    return [
        {
            "start_s": median(seconds for seconds, _ in each),
            "peak_mb": median(peak for _, peak in each),
        }
        for each in found
    ]


def measured(candidates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the outcome that measurements and budgets have in common; see `Timed.record`."""
    first, points = candidates[0], [point for each in candidates for point in each["latency"]]
    return {
        "machine": machine(),
        "steady": all(point["p50_ms"] is not None for point in points),
        "reference": f"{first['model']}, {first['format']}",
        "candidates": list(candidates),
    }


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """Returns the part that a killed run has left as JSON; makes it where there is none."""
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, json.dumps(make()))
    return json.loads(path.read_bytes())
