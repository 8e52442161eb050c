"""Who may push: a namespace, a token that may write there, and a connection that does not leak it."""

from urllib.parse import urlparse

from huggingface_hub import HfApi

from wellread_hf.errors import AuthenticationError, PublishError
from wellread_hf.hub.calls import Calls, Limits, Pause, bounded_client, client
from wellread_hf.hub.names import is_repo_id
from wellread_hf.hub.push_settings import Publishing

# A Hub on this machine, as in tests and `make demo-hub`, needs no encryption.
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def check_rights(settings: Publishing) -> None:
    """Asks the Hub whether who is logged in may write to the namespace; sends a single read.

    Raises:
        PublishError: The namespace is no name of one.
        AuthenticationError: Nobody is logged in, or may not write there.
        HubError: The Hub could not be asked.
    """
    api = client()
    check_names(settings.namespace, api)
    with bounded_client(60 * settings.deadline):
        user_of(api, Calls(Limits(max_wait=60 * settings.max_wait), Pause()), settings.namespace)


def check_names(namespace: str, api: HfApi) -> None:
    """Refuses what can be no namespace, and a Hub to which a token would travel unencrypted.

    Raises:
        PublishError: Either of these.
    """
    if not namespace:
        raise PublishError(
            "`namespace` is missing: expected the user or organisation that gets the repositories"
        )
    if "/" in namespace or not is_repo_id(namespace):
        raise PublishError(
            f"`namespace` {namespace!r} is no name of a user or organisation: expected letters, digits, . _ -"
        )
    endpoint = urlparse(api.endpoint)
    if endpoint.scheme != "https" and endpoint.hostname not in _LOOPBACK:
        raise PublishError(
            f"HF_ENDPOINT {api.endpoint}: expected https (http is for this machine alone), a token would "
            "travel unencrypted"
        )


def user_of(api: HfApi, calls: Calls, namespace: str) -> str:
    """Returns who is logged in.

    Raises:
        AuthenticationError: Nobody, or somebody who may not write to the namespace.
    """
    if api.token in (None, False):
        raise AuthenticationError(
            "nobody is logged in to the Hub: run `hf auth login`, or set HF_TOKEN to a token that may write"
        )
    user = calls("asking who is logged in", api.whoami)
    # A fine-grained token does not say here whether it may write; only a reading one is sure to fail.
    if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise AuthenticationError(
            f"the token of {user['name']} may only read: expected one that may write; make one in the "
            "settings on the Hub, then `hf auth login`"
        )
    teams = (team["name"] for team in user.get("orgs", ()) if team.get("roleInOrg") != "read")
    writable = [user["name"], *teams]
    if namespace not in writable:
        raise AuthenticationError(
            f"`namespace` {namespace}: {user['name']} may write to {', '.join(writable)}; give one of these, "
            "or log in as somebody else"
        )
    return str(user["name"])
