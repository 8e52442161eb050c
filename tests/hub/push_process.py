"""Publishes uploads of the tests in a process of its own: python push_process.py REPORT NAME..."""

import sys
from pathlib import Path

from pushes import upload

from wellread_hf.cli.exits import report_errors
from wellread_hf.hub.publish import publish
from wellread_hf.hub.push_settings import Publishing

# Some seconds of upload at the pace of the hub's tests.
BIG = bytes(range(256)) * 40_000


def main() -> None:
    report, *names = sys.argv[1:]
    made = publish(
        [upload(name, weights=BIG) for name in names], Publishing(namespace="alice", jobs=2), "1.0"
    )
    made.write(Path(report))
    print([result.state for result in made.repositories])
    sys.exit(made.status)


if __name__ == "__main__":
    with report_errors(False, str):
        main()
