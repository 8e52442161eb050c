"""A chat server, and a task that is put to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from asked import KEY, Place, says
from chat_server import ChatServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ChatServer(says) as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, server: ChatServer) -> Place:
    return Place(tmp_path, server)
