"""The eight studies by name."""

from typing import Literal

from wellread_hf.experiments.study.arms import Study
from wellread_hf.experiments.study.on_data import COMPOUND, DEPTH_WIDTH, DOMAIN, TRANSFER_SIZE
from wellread_hf.experiments.study.on_methods import CONCURRENT, INITIALISATION, METHODS, TEMPERATURE

StudyName = Literal[
    "methods",
    "initialisation",
    "depth-width",
    "transfer-size",
    "domain",
    "compound",
    "concurrent",
    "temperature",
]

STUDIES: dict[StudyName, Study] = {
    "methods": METHODS,
    "initialisation": INITIALISATION,
    "depth-width": DEPTH_WIDTH,
    "transfer-size": TRANSFER_SIZE,
    "domain": DOMAIN,
    "compound": COMPOUND,
    "concurrent": CONCURRENT,
    "temperature": TEMPERATURE,
}
