"""The stages: each builder returns a `Stage` that says what it will do, where, and after what.

Building touches no model; a chain is planned first (a recipe's dry run) and carried out after.
"""

from wellread_hf.stages.adopting import adopt
from wellread_hf.stages.asking import ask_endpoint
from wellread_hf.stages.budgeting import budget
from wellread_hf.stages.classifiers import distill, finetune
from wellread_hf.stages.combining import combine
from wellread_hf.stages.encoders import pack, pretrain, train_tokenizer
from wellread_hf.stages.evaluating import evaluate
from wellread_hf.stages.exporting import export
from wellread_hf.stages.glue_predictions import check_glue, predict
from wellread_hf.stages.importing import import_labels
from wellread_hf.stages.initialising import initialise
from wellread_hf.stages.labelling import (
    are_stored,
    label,
    label_by_all,
    named_teacher,
    soft_labels,
    stored_labels,
)
from wellread_hf.stages.measuring import measure
from wellread_hf.stages.prompting import label_by_prompt, one_teacher
from wellread_hf.stages.pruning import prune
from wellread_hf.stages.rating import rate

__all__ = [
    "adopt",
    "are_stored",
    "ask_endpoint",
    "budget",
    "check_glue",
    "combine",
    "distill",
    "evaluate",
    "export",
    "finetune",
    "import_labels",
    "initialise",
    "label",
    "label_by_all",
    "label_by_prompt",
    "measure",
    "named_teacher",
    "one_teacher",
    "pack",
    "predict",
    "pretrain",
    "prune",
    "rate",
    "soft_labels",
    "stored_labels",
    "train_tokenizer",
]
