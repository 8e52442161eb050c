"""The methods as arms, for studies to take up; adding a method to them is an entry here."""

from wellread_hf.settings import Objective
from wellread_hf.study.arms import Arm

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
