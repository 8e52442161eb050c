"""What the hub knows, and who may see or change which of it."""

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .exchange import Refusal, Request
from .repositories import Repository

if TYPE_CHECKING:
    from .collection_routes import Collection

_NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_][A-Za-z0-9._-]{0,94}[A-Za-z0-9_]|[A-Za-z0-9_]")


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


class State:
    """Users, repositories and collections. A change of them holds `lock`; a transfer of bytes does not."""

    def __init__(self, folder: Path, multipart_above: int, part_size: int, page_size: int) -> None:
        self.folder = folder
        self.multipart_above, self.part_size, self.page_size = multipart_above, part_size, page_size
        self.lock = threading.RLock()
        self.users: dict[str, User] = {}
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.collections: dict[str, Collection] = {}
        self.endpoint = self.storage_endpoint = ""
        self._secret = secrets.token_bytes(16)

    def user_of(self, request: Request) -> User | None:
        """Returns whose token a request carries."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return next((user for user in self.users.values() if user.token == token), None)

    def signed(self, method: str, path: str) -> str:
        """Returns a URL of the storage that allows one method, as a signed URL of a bucket does."""
        return f"{self.storage_endpoint}{path}?signature={self.signature(method, path)}"

    def signature(self, method: str, path: str) -> str:
        """Returns the signature of a method and a path."""
        return hmac.new(self._secret, f"{method} {path}".encode(), hashlib.sha256).hexdigest()

    def stored(self, key: str) -> Repository:
        """Returns the repository with this key in the storage."""
        for repository in list(self.repositories.values()):
            if repository.key == key:
                return repository
        raise Refusal(404, "NoSuchKey")

    def create(self, user: User, kind: str, name: str, private: bool) -> Repository:
        """Makes a repository."""
        namespace, _, base = name.partition("/")
        self._check_writer(user, name)
        if not _NAME.fullmatch(base) or base.endswith(".git"):
            raise Refusal(400, f"Invalid repository name: {base!r}")
        if not user.owns(namespace):
            raise Refusal(
                403, f'You don\'t have the rights to create a {kind[:-1]} under the namespace "{namespace}"'
            )
        if old := self.repositories.get((kind, name)):
            raise Refusal(
                409, f"You already created this {kind[:-1]} repo", url=f"{self.endpoint}/{old.address}"
            )
        repository = Repository(kind, name, private, self.folder, self.lock)
        self.repositories[kind, name] = repository
        return repository

    def visible(self, user: User | None, repository: Repository) -> bool:
        """Whether a user, or nobody, may see a repository."""
        return not repository.private or (user is not None and user.owns(repository.namespace))

    def readable(self, request: Request, kind: str, name: str) -> Repository:
        """Returns a repository that the user may see."""
        repository = self.repositories.get((kind, name))
        if repository is None or not self.visible(request.user, repository):
            raise no_repository(request)
        return repository

    def writable(self, request: Request, kind: str, name: str) -> Repository:
        """Returns a repository that the user may change."""
        repository = self.readable(request, kind, name)
        user = self.signed_in(request)
        self._check_writer(user, name)
        if not user.owns(repository.namespace):
            raise _forbidden(name)
        return repository

    def signed_in(self, request: Request) -> User:
        """Returns the user, who must be one."""
        if request.user is None:
            raise Refusal(401, "Invalid username or password.")
        return request.user

    def _check_writer(self, user: User, name: str) -> None:
        if user.role != "write":
            raise Refusal(403, "Forbidden: this token may only read; use a token with the role write")
        if not user.may_write(name):
            raise _forbidden(name)


def no_repository(request: Request) -> Refusal:
    """The answer for a repository that is missing or must seem so."""
    # Nobody learns by asking which names exist; a known user gets a plain answer.
    if request.user is None:
        return Refusal(401, "Invalid username or password.", "RepoNotFound")
    return Refusal(404, "Repository not found", "RepoNotFound")


def _forbidden(name: str) -> Refusal:
    return Refusal(403, f"Forbidden: you don't have the rights to change {name}")
