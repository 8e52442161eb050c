"""A Hub of our own on this machine, for the unmodified client.

    with HubServer() as hub:
        hub.add_user("alice", token="any text")
        busy = hub.fault("POST /api/models/.*/commit/", status=429, headers={"Retry-After": "5"})
        subprocess.run(command, env=hub.environment(home, "alice"))
        assert busy.hits == 1
        assert "README.md" in hub.repository("alice/model").files()
        assert "any text" not in str(hub.requests(" /bucket/"))

A process that has imported the client already says `HfApi(endpoint=hub.endpoint, token=...)`.
"""

from .server import HubServer

__all__ = ["HubServer"]
