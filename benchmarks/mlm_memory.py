"""Peak memory of masked-LM pre-training: our trainer beside stock `Trainer`."""

from benchmarks.figures import Figure, compared
from benchmarks.sides import SMALLEST, Side, same_loss

_STEPS = 3


def run(rounds: int, quick: bool) -> list[Figure]:
    """Trains a few steps in fresh processes; what they need above a tiny run is the figure."""
    found: dict[str, list[float]] = {"ours": [], "stock": []}
    same = ""
    for _ in range(1 if quick else min(rounds, 3)):
        sides = {way: Side(way, SMALLEST) for way in found}
        same = same_loss(sides["ours"], sides["stock"])
        for way, side in sides.items():
            side.train()
            side.steps(_STEPS)
            found[way].append(side.close())
    ours, stock = tuple(found["ours"]), tuple(found["stock"])
    return [
        Figure(
            benchmark="mlm-memory",
            case="2-128",
            ours="our Trainer",
            theirs="stock Trainer",
            unit="MB",
            ours_values=ours,
            theirs_values=stock,
            ratios=compared(ours, stock, "lower"),
            target=2.0,
            better="lower",
            same=same,
            note="peak of the resident memory in three steps, above the libraries and a step of a tiny model",
        )
    ]
