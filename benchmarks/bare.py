"""What `Trainer` costs: our trainer beside a bare PyTorch loop over the same model, data and loss."""

from benchmarks.figures import Figure, compared
from benchmarks.pairs import in_turn
from benchmarks.sides import SMALLEST, Side, same_loss

_STEPS = 4


def run(rounds: int, quick: bool) -> list[Figure]:
    """Measures the smallest student, whose steps are the shortest."""
    ours, bare = Side("ours", SMALLEST), Side("bare", SMALLEST)
    same = same_loss(ours, bare)
    ours.train(), bare.train()
    fast, slow = in_turn(lambda: ours.steps(_STEPS), lambda: bare.steps(_STEPS), rounds)
    ours.close(), bare.close()
    return [
        Figure(
            benchmark="bare",
            case="2-128",
            ours="our Trainer",
            theirs="a bare loop",
            unit="tokens/s",
            ours_values=fast,
            theirs_values=slow,
            ratios=compared(fast, slow, "higher"),
            target=0.9,
            better="higher",
            same=same,
        )
    ]
