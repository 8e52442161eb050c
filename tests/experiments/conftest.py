"""A student to sweep over, and a sweep that nothing disturbed."""

from pathlib import Path
from typing import Any

import pytest
from sweeps import options, started


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory, toy_tokenizer: Any) -> Path:
    from wellread_hf.models.load import new_classifier
    from wellread_hf.students import Student

    folder = tmp_path_factory.mktemp("encoder")
    new_classifier(Student(2, 128), len(toy_tokenizer), ("0", "1"), seed=0).bert.save_pretrained(folder)
    toy_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    """The folder of all stages of a sweep that ran through in one process."""
    runs = tmp_path_factory.mktemp("undisturbed")
    with started(*options(encoder, runs)) as process:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    assert "bert-2-128" in out
    return runs
