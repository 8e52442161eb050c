"""Masked-LM pre-training: our trainer beside stock `Trainer`, and both beside the machine's limits."""

from benchmarks import limits
from benchmarks.figures import Figure, compared
from benchmarks.pairs import in_turn
from benchmarks.sides import BATCH, LENGTH, SMALLEST, Side, same_loss
from wellread_hf.students import Student
from wellread_hf.training.operations import masked_lm_products

# Student: (tokens/s to reach over stock's, share of the machine's rate to reach, steps a turn, most rounds).
CASES = {
    SMALLEST: (5.0, 0.4, 3, 9),
    Student(4, 256): (2.8, None, 2, 5),
    Student(4, 512): (2.0, 0.5, 1, 5),
    Student(8, 512): (1.6, None, 1, 3),
    Student(12, 768): (1.2, None, 1, 2),
}


def run(rounds: int, quick: bool) -> list[Figure]:
    """Measures the students in turn with stock; each case's own matrix products right after it."""
    figures = []
    for student, (target, share, steps, most) in CASES.items():
        figures += _case(student, target, share, 1 if quick else steps, min(rounds, most))
        if quick:
            return figures
    return figures


def _case(student: Student, target: float, share: float | None, steps: int, rounds: int) -> list[Figure]:
    ours, stock = Side("ours", student), Side("stock", student)
    same = same_loss(ours, stock)
    ours.train(), stock.train()
    fast, slow = in_turn(lambda: ours.steps(steps), lambda: stock.steps(steps), rounds)
    stock.close()
    case = student.name.removeprefix("bert-")
    speed = Figure(
        benchmark="mlm",
        case=case,
        ours="our Trainer",
        theirs="stock Trainer",
        unit="tokens/s",
        ours_values=fast,
        theirs_values=slow,
        ratios=compared(fast, slow, "higher"),
        target=target,
        better="higher",
        same=same,
    )
    utilisation = limits.utilisation(
        "mlm",
        case,
        masked_lm_products(student.shape, BATCH, LENGTH),
        lambda: ours.steps(steps) / (BATCH * LENGTH),
        rounds,
        share,
    )
    ours.close()
    return [speed, utilisation]
