"""Runs the benchmarks that measure ours beside what a user would pick otherwise.

  python -m benchmarks
  python -m benchmarks --only mlm --rounds 5

Prints a table, and writes results.json and results.png to --out. Benchmarks that were not run keep the
figures that results.json has of them. docs/performance.md explains the figures.
"""

import argparse
import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks import report

# Each module has `run(rounds, quick) -> list[Figure]`. In the order in which they run and are shown.
BENCHMARKS = {
    "mlm": "benchmarks.mlm",
    "mlm-memory": "benchmarks.mlm_memory",
    "bare": "benchmarks.bare",
    "vocabulary-head": "benchmarks.vocabulary_head",
    "distill": "benchmarks.distill",
    "distill-overhead": "benchmarks.distill_overhead",
    "label": "benchmarks.label",
    "prompted": "benchmarks.prompted",
    "tagging": "benchmarks.tagging",
    "finetune": "benchmarks.finetune",
    "pack": "benchmarks.pack",
    "cohort": "benchmarks.cohort",
    "busy": "benchmarks.busy",
    "serve": "benchmarks.serve",
    "startup": "benchmarks.startup",
    "steady": "benchmarks.steady",
}

# What a teacher's pass and its soft labels gain: one name for several benchmarks.
GROUPS = {"teachers": ("label", "tagging", "prompted", "distill")}


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", choices=[*BENCHMARKS, *GROUPS], default=list(BENCHMARKS), metavar="NAME"
    )
    parser.add_argument("--rounds", type=int, default=5, help="pairs that are measured")
    parser.add_argument("--quick", action="store_true", help="the smallest case alone, to see that it runs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of the results")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    for name in (name for only in given.only for name in GROUPS.get(only, (only,))):
        started = time.monotonic()
        # Without the folder of the results, which is nobody's business.
        command = f"python -m benchmarks --only {name} --rounds {given.rounds}{' --quick' * given.quick}"
        figures = import_module(BENCHMARKS[name]).run(given.rounds, given.quick)
        report.merge(given.out, name, figures, report.circumstances(given.rounds, command))
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    order = list(BENCHMARKS)
    figures = report.kept_figures(given.out)
    figures.sort(
        key=lambda figure: order.index(figure.benchmark) if figure.benchmark in order else len(order)
    )
    report.print_table(figures)
    report.draw(figures, given.out / report.PICTURE)


if __name__ == "__main__":
    main()
