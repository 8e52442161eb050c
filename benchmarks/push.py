"""How fast all 24 sizes are pushed: our publishing with four jobs, and 24 calls of stock `push_to_hub`.

Random weights of all 24 sizes (about 3.2 GB in fp32) go to a Hub of this machine by both ways in turn, each
time to new repositories; ours once more with nothing changed. Every way runs in a process of its own, whose
largest memory is known; its imports are not timed. Both have the models on disk to begin with; stock has to
load them, as its users do.

  python -m benchmarks.push --rounds 3
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.hub_server import HubServer

CARD = b"---\nlicense: apache-2.0\nlanguage: en\n---\n# Random weights\n"


def make_students(folder: Path, smallest: int) -> None:
    """Saves the students with random weights and a tokenizer; all 24, or so many of the smallest."""
    import torch
    from transformers import BertForMaskedLM, BertTokenizer

    from wellread_hf.students import STUDENTS, VOCABULARY

    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *(f"w{number}" for number in range(VOCABULARY - 5)),
    ]
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    torch.manual_seed(0)
    for student in sorted(STUDENTS, key=lambda student: student.parameters())[:smallest]:
        BertForMaskedLM(student.config()).save_pretrained(folder / student.name)
        tokenizer.save_pretrained(folder / student.name)


def stock(folder: Path, prefix: str) -> float:
    """Pushes as transformers' users do; returns seconds."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM  # noqa: F401

    started = time.monotonic()
    for run in sorted(folder.iterdir()):
        name = f"bench/{prefix}-{run.name}"
        AutoModelForMaskedLM.from_pretrained(run).push_to_hub(name, private=True)
        AutoTokenizer.from_pretrained(run).push_to_hub(name, private=True)
    return time.monotonic() - started


def ours(folder: Path, prefix: str) -> float:
    """Pushes as `wellread publish` does; returns seconds."""
    from wellread_hf.hub.publish import publish
    from wellread_hf.hub.push_settings import Publishing
    from wellread_hf.hub.uploads import hash_files, model_upload

    started = time.monotonic()
    uploads = [
        model_upload(run, f"{prefix}-{run.name}", {"README.md": CARD}) for run in sorted(folder.iterdir())
    ]
    hash_files(uploads)
    report = publish(uploads, Publishing(namespace="bench", collection=None, jobs=4), "0")
    if report.status:
        raise SystemExit([result.error for result in report.repositories if result.error])
    return time.monotonic() - started


WAYS = {"stock": stock, "ours": ours}


def timed(hub: HubServer, way: str, folder: Path, prefix: str) -> tuple[float, float]:
    """Runs one way in a process of its own; returns seconds and its largest memory in MB."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.push", "--way", way, "--folder", folder, "--prefix", prefix],
            env=hub.environment(Path(home), "bench"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        seconds, largest = map(float, done.stdout.split()[-2:])
        return seconds, largest


def compare(folder: Path, rounds: int) -> dict[str, object]:
    """Runs both ways in turn, then ours with nothing changed."""
    seconds: dict[str, list[float]] = {"stock": [], "ours": [], "ours, unchanged": []}
    memory: dict[str, list[float]] = {way: [] for way in seconds}
    for number in range(rounds):
        with HubServer() as hub:
            hub.add_user("bench", "token-of-the-benchmark")
            for way in ("stock", "ours") if number % 2 == 0 else ("ours", "stock"):
                took, largest = timed(hub, way, folder, way)
                seconds[way].append(took)
                memory[way].append(largest)
            hub.clear_requests()
            took, largest = timed(hub, "ours", folder, "ours")
            seconds["ours, unchanged"].append(took)
            memory["ours, unchanged"].append(largest)
            asked = [
                len(hub.requests(f"models/bench/ours-{run.name}[/?]|models/bench/ours-{run.name}$"))
                for run in folder.iterdir()
            ]
    ratios = [slow / fast for slow, fast in zip(seconds["stock"], seconds["ours"], strict=True)]
    return {
        "GB": round(sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e9, 2),
        "seconds": {way: spread(found) for way, found in seconds.items()},
        "largest memory, MB": {way: spread(found) for way, found in memory.items()},
        "stock / ours": spread(ratios),
        "requests for an unchanged repository, at most": max(asked),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Returns median, minimum and maximum."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 2) for name, value in found.items()}


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--smallest", type=int, default=24, help="so many of the smallest students")
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--prefix", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        make_students(given.folder, given.smallest)
        return
    if given.way:
        seconds = WAYS[given.way](given.folder, given.prefix)
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        # In a process of its own: what runs after it would count its memory, too.
        made = [sys.executable, "-m", "benchmarks.push", "--make", "--folder", folder]
        made += ["--smallest", str(given.smallest)]
        subprocess.run(made, check=True, stderr=subprocess.DEVNULL)
        print(json.dumps(compare(Path(folder), given.rounds), indent=1))


if __name__ == "__main__":
    main()
