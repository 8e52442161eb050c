"""Compact BERTs by Pre-trained Distillation ("Well-Read Students Learn Better", Turc et al. 2019).

Importing the package loads neither torch nor transformers: public names are looked up on first use (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

if TYPE_CHECKING:
    from wellread_hf.students import STUDENTS as STUDENTS
    from wellread_hf.students import Student as Student
    from wellread_hf.training.distillation import DistillationTrainer as DistillationTrainer
    from wellread_hf.training.masking import MlmCollator as MlmCollator

_HOMES = {
    "DistillationTrainer": "wellread_hf.training.distillation",
    "MlmCollator": "wellread_hf.training.masking",
    "STUDENTS": "wellread_hf.students",
    "Student": "wellread_hf.students",
}

__all__ = ["STUDENTS", "DistillationTrainer", "MlmCollator", "Student", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'wellread_hf' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
