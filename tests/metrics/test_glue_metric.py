"""GLUE's metrics as `evaluate` modules: no network, refusals as in the package."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest

import wellread_hf.metrics.glue_metric
from wellread_hf.errors import DataError, NotFiniteError, UnknownNameError
from wellread_hf.metrics.scores import scores_of
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    asked: list[object] = []

    def refused(*args: object, **more: object) -> None:
        asked.append(args)
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    yield
    assert not asked


def load(name: str) -> Any:
    folder = Path(wellread_hf.metrics.glue_metric.__path__[0])
    return evaluate.load(str(folder), name, keep_in_memory=True)


@pytest.mark.parametrize("name", GLUE_SETS)
def test_a_module_loaded_by_name_gives_what_training_gives(name: str) -> None:
    draw = np.random.default_rng(0)
    classes = len(GLUE_TASKS[GLUE_SETS[name].task].labels)
    said, true = (draw.integers(0, classes, 50) if classes else draw.uniform(0, 5, 50) for _ in range(2))
    found = load(name).compute(predictions=said, references=true)
    assert found == scores_of(GLUE_SETS[name].metrics, said, true)
    assert tuple(found) == GLUE_SETS[name].metrics


def test_rows_may_come_in_batches_and_values_stay_values() -> None:
    metric = load("stsb")
    for said, true in ((0.5, 1.0), (2.25, 2.0), (4.0, 3.5)):
        metric.add(prediction=said, reference=true)
    found = metric.compute()
    assert found["pearson"] == pytest.approx(np.corrcoef([0.5, 2.25, 4.0], [1.0, 2.0, 3.5])[0, 1])
    assert found["spearman"] == pytest.approx(1)


def test_bad_rows_are_refused_as_in_the_package() -> None:
    with pytest.raises(NotFiniteError, match="expected finite predictions, got nan in row 2"):
        load("stsb").compute(predictions=[1.0, float("nan")], references=[1.0, 2.0])
    with pytest.raises(DataError, match="got 0 predictions for 0 labels"):
        load("sst2").compute(predictions=[], references=[])
    with pytest.raises(ValueError, match="Mismatch in the number of predictions"):
        load("sst2").compute(predictions=[1], references=[1, 0])


def test_another_configuration_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'mnli-mismatched'; the nearest is mnli_mismatched"):
        load("mnli-mismatched")
