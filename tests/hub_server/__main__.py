"""Runs a command against a Hub of its own: python -m tests.hub_server -- COMMAND [ARGUMENT ...]."""

import argparse
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from . import HubServer

USER, TOKEN = "demo", "token-of-the-demo-user"


def main() -> int:
    """Returns the exit status of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.hub_server", description=__doc__)
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    command = parser.parse_args().command
    with HubServer() as hub, tempfile.TemporaryDirectory(prefix="hub-home-") as home:
        hub.add_user(USER, TOKEN)
        print(f"Hub: {hub.endpoint} (user {USER!r}; it ends with the command)", flush=True)
        try:
            child = subprocess.Popen(command, env=hub.environment(Path(home), USER))
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
            return 127
        # The terminal interrupts the command, too, which says what comes of it; a termination is passed on.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        status = child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
