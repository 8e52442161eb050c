"""Studies of student shape and text; figures of Turc et al. 2019, *measured* where read off a picture."""

from dataclasses import replace

from wellread_hf.experiments.study.arms import DISTILLATION, PD, PDF, PF, TWO_BUDGETS, Finding, Study

# Their layers have equally many weights: 8 x 12 x 128^2 = 2 x 12 x 256^2.
_DEEP, _WIDE = "8-128", "2-256"
_SHAPES = tuple(
    replace(arm, at=shape, student=shape) for arm in (DISTILLATION, PD) for shape in (_WIDE, _DEEP)
)
DEPTH_WIDTH = Study(
    title="Depth against width at like parameters",
    arms=_SHAPES,
    findings=(
        Finding(
            text="once pre-trained, the deeper student is better (PD)",
            paper="6-512 above 2-768 (SST-2, its figure)",
            more=(f"PD, {_DEEP}",),
            less=(f"PD, {_WIDE}",),
        ),
        Finding(
            text="from random weights depth does not matter (Distillation)",
            paper="flat (SST-2, its figure)",
            more=(f"Distillation, {_DEEP}",),
            less=(f"Distillation, {_WIDE}",),
            claim="alike",
        ),
    ),
    axis="arm",
    every_student=False,
)

# The paper's 1m and 8m rows are an eighth and all; fifty times lie between the least and all.
_LEAST, _EIGHTH, _ALL = "2 %", "1/8", "all"
_SIZES = {_LEAST: 0.02, _EIGHTH: 0.125, "40 %": 0.4, _ALL: 1.0}
TRANSFER_SIZE = Study(
    title="Size of the transfer set",
    # The two methods of the paper's figure on transfer sets.
    arms=tuple(
        replace(arm, at=at, share=share) for arm in (DISTILLATION, PD) for at, share in _SIZES.items()
    ),
    findings=(
        Finding(
            text="PD gains from more transfer text",
            paper="PD 83.2 with 50k rows, 88.0 with 8m (Amazon Books, Mini, measured)",
            more=(f"PD, {_ALL}",),
            less=(f"PD, {_LEAST}",),
        ),
        Finding(
            text="Distillation gains from more transfer text",
            paper="Distillation 78.9 with 50k rows, 84.7 with 8m (measured)",
            more=(f"Distillation, {_ALL}",),
            less=(f"Distillation, {_LEAST}",),
        ),
        Finding(
            text="PD with the least is ahead of Distillation with the least",
            paper="83.2 and 78.9 with 50k rows (measured)",
            more=(f"PD, {_LEAST}",),
            less=(f"Distillation, {_LEAST}",),
        ),
        Finding(
            text="PD needs an eighth of the rows to pass Distillation with all",
            paper="PD 86.6 with 1m rows, Distillation 84.7 with 8m (measured)",
            more=(f"PD, {_EIGHTH}",),
            less=(f"Distillation, {_ALL}",),
        ),
    ),
    axis="transfer rows",
)

DOMAIN = Study(
    title="Domain of the transfer set",
    # The three methods of the paper's figure on domains.
    arms=tuple(
        replace(arm, at=domain, domain=domain)
        for arm in (DISTILLATION, PD, PDF)
        for domain in ("in", "near", "far")
    ),
    findings=(
        Finding(
            text="far from the domain PD loses",
            paper="PD 87.2 at S = 1.0, 82.4 at S = 0.43 (1.7m rows, measured)",
            more=("PD, in",),
            less=("PD, far",),
        ),
        Finding(
            text="far from the domain Distillation loses",
            paper="Distillation 84.1 at S = 1.0, 78.8 at S = 0.43 (measured)",
            more=("Distillation, in",),
            less=("Distillation, far",),
        ),
        Finding(
            text="far from the domain PD stays ahead of Distillation",
            paper="PD 82.4, Distillation 78.8 at S = 0.43 (measured)",
            more=("PD, far",),
            less=("Distillation, far",),
        ),
        Finding(
            text="far from the domain a last fine-tuning helps (PD-F > PD)",
            paper="PD-F 84.7, PD 82.4 at S = 0.43 (measured)",
            more=("PD-F, far",),
            less=("PD, far",),
        ),
        Finding(
            text="in the domain a last fine-tuning changes little",
            paper="PD-F 87.0, PD 87.2 at S = 1.0 (measured)",
            more=("PD-F, in",),
            less=("PD, in",),
            claim="alike",
        ),
    ),
    axis="rank correlation",
    remarks=("PD-F sees labels after its soft labels, and so more rows than PD",),
)

COMPOUND = Study(
    title="Compound effect: pre-trained on the transfer set itself (D_LM = D_T)",
    # The three methods that the paper compares at D_LM = D_T.
    arms=(
        DISTILLATION,
        replace(PF, weights="pre-trained on D_T"),
        replace(PD, weights="pre-trained on D_T"),
    ),
    findings=(
        Finding(
            text="reading the same text and then its soft labels adds up (PD > PF)",
            paper="PD 64.0, PF 61.3 (Tiny), 74.7 and 72.5 (Mini; MNLI, measured)",
            more=("PD",),
            less=("PF",),
        ),
        Finding(
            text="reading the text first helps its distillation (PD > Distillation)",
            paper="PD 64.0, Distillation 60.6 (Tiny), 74.7 and 66.0 (Mini; MNLI, measured)",
            more=("PD",),
            less=("Distillation",),
        ),
    ),
    axis="student",
    remarks=(TWO_BUDGETS,),
)
