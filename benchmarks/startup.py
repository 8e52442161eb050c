"""How long `wellread --help` and `wellread students` take.

python -m benchmarks --only startup
"""

import os
import subprocess
import sys
import time

from benchmarks.figures import Figure

NAME = "startup"
LIMIT = 0.5
# None of these has anything to do with a help page; each costs a tenth of a second to seconds.
HEAVY = (
    "torch",
    "transformers",
    "numpy",
    "scipy",
    "sklearn",
    "datasets",
    "pyarrow",
    "accelerate",
    "matplotlib",
)
COMMANDS = {"wellread --help": ["--help"], "wellread students": ["students"]}
_STARTS = 5


def heavy_modules(words: list[str]) -> list[str]:
    """Returns which of HEAVY a start of the command loads."""
    program = (
        f"import sys; sys.argv = ['wellread', *{words!r}]\n"
        "from wellread_hf.cli.wellread import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print(*(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stderr.split()


def _start(words: list[str]) -> tuple[float, float]:
    """Returns wall and CPU seconds of one start."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "wellread_hf.cli.wellread", *words], capture_output=True, check=True
    )
    took, after = time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return took, cpu


def run(rounds: int, quick: bool) -> list[Figure]:
    """Starts each command several times; there is nothing else to compare with than the limit."""
    figures = []
    for name, words in COMMANDS.items():
        loaded = heavy_modules(words)
        _start(words)
        starts = [_start(words) for _ in range(2 if quick else max(rounds, _STARTS))]
        seconds = tuple(wall for wall, _ in starts)
        cpu = sorted(used for _, used in starts)
        figures.append(
            Figure(
                benchmark=NAME,
                case=name,
                ours=name,
                theirs="the limit",
                unit="s",
                ours_values=seconds,
                theirs_values=(LIMIT,) * len(seconds),
                ratios=tuple(LIMIT / value for value in seconds),
                target=1.0,
                better="lower",
                same=f"loads {', '.join(loaded) or 'no torch, transformers, numpy or other heavy package'}",
                note=f"CPU seconds {cpu[len(cpu) // 2]:.2f} ({cpu[0]:.2f} to {cpu[-1]:.2f})",
            )
        )
    return figures
