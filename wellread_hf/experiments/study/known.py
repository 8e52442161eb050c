"""The methods as arms, for studies to take up: docs/adding-a-method.md shows how one is added."""

from wellread_hf.experiments.study.arms import Arm
from wellread_hf.settings import Objective

BASIC = Arm(series="Basic", weights="random", lessons=("labels",))
DISTILLATION = Arm(series="Distillation", weights="random")
PF = Arm(series="PF", lessons=("labels",))
PD = Arm(series="PD")
PDF = Arm(series="PD-F", lessons=("soft labels", "labels"))

# What came out at the time of the paper, and its truncated student.
TF = Arm(series="TF", weights="truncated", lessons=("labels",))
DISTILBERT = Arm(series="DistilBERT", weights="distilled MLM", lessons=("labels",))
# Its labels are the task's own: hard labels are part of it. The rest of the objective is `--patient`'s.
PATIENT = Arm(series="Patient KD", transfer="task", objective=Objective(method="patient"))

# What a reader has to know where some arms learn labels and others soft labels.
TWO_BUDGETS = (
    "labels and soft labels have budgets of their own, as in the paper: what a teacher labels needs no "
    "labels, and so there is more of it"
)
