"""Who may ask: users and their tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class User:
    """A user with one token; `may_write` can refuse single repositories to it."""

    name: str
    token: str
    orgs: tuple[str, ...] = ()
    role: str = "write"
    may_write: Callable[[str], bool] = lambda repository: True

    def owns(self, namespace: str) -> bool:
        """Whether the namespace is the user or one of the organizations."""
        return namespace in (self.name, *self.orgs)

    def describe(self) -> dict[str, Any]:
        """Returns the answer to whoami."""
        return {
            "type": "user",
            "id": f"id-of-{self.name}",
            "name": self.name,
            "fullname": self.name.title(),
            "email": f"{self.name}@example.org",
            "emailVerified": True,
            "canPay": False,
            "isPro": False,
            "periodEnd": None,
            "avatarUrl": "",
            "orgs": [
                {"type": "org", "id": f"id-of-{org}", "name": org, "fullname": org, "roleInOrg": self.role}
                for org in self.orgs
            ],
            "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": self.role}},
        }
