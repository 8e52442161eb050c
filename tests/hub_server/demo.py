"""The way to the Hub without an account: pushes the demo's students to a Hub of this machine, loads one back.

`make demo-hub` runs it inside `python -m tests.hub_server`, which sets the environment.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

RUNS = Path("runs")
STUDENT = "demo/bert-2-128-toy"
WELLREAD = (sys.executable, "-m", "wellread_hf.cli.wellread")

# A user's own few lines, run in a process and a cache of their own.
LOAD = """
import sys
from transformers import pipeline
from transformers.utils import logging
logging.set_verbosity_error()
logging.disable_progress_bar()
classify = pipeline("text-classification", model=sys.argv[1])
for text in sys.argv[2:]:
    found = classify(text)[0]
    print(f"  {text}: {found['label']} ({found['score']:.2f})")
"""


def students() -> list[Path]:
    """Returns the folders of the newest demo: its pre-trained student, the PD student, the soft labels."""
    report = max(RUNS.glob("report-toy-*"), key=lambda folder: folder.stat().st_mtime)
    results = json.loads((report / "results.json").read_text())
    taught = Path(next(result["folders"][0] for result in results if result["method"] == "PD"))
    settings = json.loads((taught / "stage.json").read_text())["settings"]
    encoder = settings["start"]["weights"].split(":")[1]
    return [
        next(RUNS.glob(f"pretrain-*-{encoder[:12]}")),
        taught,
        next(RUNS.glob(f"label-*-{settings['labels'][:12]}")),
    ]


def main() -> int:
    """Pushes, pushes again, verifies and loads; returns the first status that is not 0."""
    world = next(RUNS.glob("toyworld-*/task/test.jsonl"))
    texts = [json.loads(line)["sentence"] for line in world.read_text().splitlines()[:3]]
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        push = [*WELLREAD, "publish", *students(), "--namespace", "demo", "--report", f"{folder}/report.json"]
        steps = {
            "What would be pushed:": [*push, "--dry-run"],
            "The push:": push,
            "The same again; what is there already is only read:": push,
            "Every byte checked:": [*WELLREAD, "verify", STUDENT],
            f'pipeline("text-classification", "{STUDENT}") in a fresh process and cache:': [
                *(sys.executable, "-c", LOAD, STUDENT),
                *texts,
            ],
        }
        return carry_out(steps, folder)


def carry_out(steps: Mapping[str, Sequence[str | Path]], folder: str) -> int:
    """Runs one command after another, each with a cache of its own below the folder.

    Returns:
        The first status that is not 0, with which it ends.
    """
    for number, (title, command) in enumerate(steps.items()):
        print(f"\n{title}", flush=True)
        home = {"HF_HOME": f"{folder}/{number}"}
        status = subprocess.run(command, env=os.environ | home, check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
