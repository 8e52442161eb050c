"""What a study is made of: arms, findings to test on them, and the methods as arms."""

from dataclasses import dataclass, field
from typing import Literal

from wellread_hf.experiments.study.statistics import Claim
from wellread_hf.settings import Objective

# Where a student's weights come from: drawn; a masked LM of the corpus, one that predicts next sentences too,
# or one of the transfer set's own text; the first layers of a deeper masked LM; a pre-trained student's word
# embeddings, the rest drawn; layers spread over a deeper masked LM that then teaches it to read (DistilBERT).
Weights = Literal[
    "random",
    "pre-trained",
    "pre-trained, MLM+",
    "pre-trained on D_T",
    "truncated",
    "word embeddings",
    "distilled MLM",
]
# What it is trained on, one after the other.
Labels = Literal["labels", "soft labels"]
Domain = Literal["in", "near", "far"]
# What stands along the picture's axis.
Axis = Literal["student", "arm", "transfer rows", "rank correlation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to train a student.

    Attributes:
        series: The line it belongs to in the picture, usually the method.
        at: Where on the axis it lies, in words; empty: at its student.
        weights: Where the student starts.
        lessons: What it is trained on, in this order.
        student: Which of the 24, where the arm is of one size alone.
        transfer: Text that the teacher labels: `task` is the task's own training rows.
        domain: How far that text lies from the task's.
        share: Share of the budget's transfer rows.
        objective: What distillation minimises.
        even: Labels are seen as often as the budget lets soft labels be seen.
    """

    series: str
    at: str = ""
    weights: Weights = "pre-trained"
    lessons: tuple[Labels, ...] = ("soft labels",)
    student: str | None = None
    transfer: Literal["pool", "task"] = "pool"
    domain: Domain = "in"
    share: float = 1.0
    objective: Objective = field(default_factory=Objective)
    even: bool = False

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.series}, {self.at}" if self.at else self.series


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the paper found, and the arms that show it.

    The paired difference is the sum of the arms of `more` minus that of the arms of `less`.

    Attributes:
        text: The finding in words.
        paper: What the paper has to say, with its numbers.
        more: Names of the arms that should score more.
        less: Names of as many arms that should score less.
        claim: Whether `more` is better, alike, or no worse.
        ours: The paper does not compare these; the question is ours.
    """

    text: str
    paper: str
    more: tuple[str, ...]
    less: tuple[str, ...]
    claim: Claim = "better"
    ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A question, the arms that answer it, and the findings to test.

    Attributes:
        title: For headings.
        arms: All arms.
        findings: All findings; their tests are corrected together.
        axis: What the picture's axis shows.
        every_student: Train every arm with every student; else each arm names its own.
        remarks: What a reader of its scores has to know.
    """

    title: str
    arms: tuple[Arm, ...]
    findings: tuple[Finding, ...]
    axis: Axis
    every_student: bool = True
    remarks: tuple[str, ...] = ()

    def arm(self, name: str) -> Arm:
        """Returns the arm of a name."""
        return next(arm for arm in self.arms if arm.name == name)


BASIC = Arm(series="Basic", weights="random", lessons=("labels",))
DISTILLATION = Arm(series="Distillation", weights="random")
PF = Arm(series="PF", lessons=("labels",))
PD = Arm(series="PD")
PDF = Arm(series="PD-F", lessons=("soft labels", "labels"))

# What came out at the time of the paper, and its truncated student.
TF = Arm(series="TF", weights="truncated", lessons=("labels",))
DISTILBERT = Arm(series="DistilBERT", weights="distilled MLM", lessons=("labels",))
# Its labels are the task's own: hard labels are part of it. `patient` sets the rest of the objective.
PATIENT = Arm(series="Patient KD", transfer="task", objective=Objective(method="patient"))

# What a reader has to know where some arms learn labels and others soft labels.
TWO_BUDGETS = (
    "labels and soft labels have budgets of their own, as in the paper: what a teacher labels needs no "
    "labels, and so there is more of it"
)
