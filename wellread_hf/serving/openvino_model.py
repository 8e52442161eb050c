"""The fp32 graph of an export in OpenVINO, where that is installed: another runtime to measure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wellread_hf.serving.onnx_model import OnnxModel


def openvino_model(folder: Path, threads: int, max_length: int | None = None) -> OnnxModel:
    """Opens an export whose graph OpenVINO runs; tokens and labels are made in the same way."""
    return OnnxModel(folder, "fp32", threads, max_length, _Graph)


class _Graph:
    """A graph in OpenVINO that is asked as one in ONNX Runtime."""

    def __init__(self, path: Path, threads: int) -> None:
        import openvino

        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        self._compiled = openvino.Core().compile_model(str(path), "CPU", settings)

    def run(self, outputs: Any, feed: Mapping[str, Any]) -> list[Any]:
        return [self._compiled(feed)[0]]
