"""Looks for a Ray cluster at an address; Ray itself would try for a minute, then end the process."""

import socket
import subprocess
import sys

from wellread_hf.errors import SettingsError, SourceError

# Seconds for an address to be connected to, and for a cluster there to say that it is well; a port that
# nobody listens on answers at once, a firewall never.
_CONNECT, _ANSWER = 2, 5
# Ray's own command. It prints a line once it is loaded: a busy machine is no silent cluster.
_ASK = "from ray.scripts.scripts import main; print('asking', flush=True); main()"


def check_address(address: str) -> None:
    """Asks a cluster for its health.

    Raises:
        SettingsError: The address is none.
        SourceError: There is no Ray cluster at the address.
    """
    named = ["--address", address]
    if address == "auto":
        # The health check finds the cluster of this machine by itself.
        named = []
    else:
        host, colon, port = address.rpartition(":")
        # With ray:// the driver would run on another machine.
        if not (colon and host and port.isdecimal()) or "/" in host:
            raise SettingsError(f"`address`: expected HOST:PORT of a Ray cluster, or auto, got {address!r}")
        try:
            socket.create_connection((host, int(port)), timeout=_CONNECT).close()
        except (OSError, OverflowError) as error:
            raise no_cluster(address, str(error)) from error
    health = [sys.executable, "-c", _ASK, "health-check", *named]
    with subprocess.Popen(health, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asked:
        assert asked.stdout is not None
        asked.stdout.readline()
        try:
            _, errors = asked.communicate(timeout=_ANSWER)
        except subprocess.TimeoutExpired as error:
            asked.kill()
            raise no_cluster(address, f"there was no answer in {_ANSWER} s") from error
    if asked.returncode and "AuthenticationError" in errors:
        # A cluster has answered. For that of this machine Ray finds the token by itself.
        if address != "auto":
            raise no_cluster(address, "it asks for a token: set RAY_AUTH_MODE=token, as ray start says")
    elif asked.returncode:
        raise no_cluster(address, "none that is well, or one of another version, answers")


def no_cluster(address: str | None, why: str) -> SourceError:
    """Makes the error for an address without a cluster."""
    return SourceError(
        f"`address` {address}: expected a Ray cluster there, but {why}; start one with ray start --head, and "
        "give its HOST:PORT"
    )
