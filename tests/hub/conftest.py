"""A hub with two users, and the unmodified client pointed at it."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from hub_server import HubServer
from huggingface_hub import HfApi
from pushes import TOKEN, Wellread, save_run

from wellread_hf.cli.wellread import main
from wellread_hf.hub import calls


@pytest.fixture(autouse=True)
def without_xet(monkeypatch):
    # The environment is read when the client is imported, which another test may have done.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)


@pytest.fixture(autouse=True)
def without_certificates(monkeypatch, tmp_path_factory):
    # Reading this machine's takes longer than a whole push, and each client does it; nothing here is https.
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path_factory.getbasetemp()))


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer(multipart_above=100_000, part_size=40_000) as hub:
        hub.add_user("alice", "token-of-alice", orgs=["team"])
        hub.add_user("bob", "token-of-bob")
        yield hub


@pytest.fixture
def api(hub: HubServer) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token="token-of-alice")


@pytest.fixture
def quick(monkeypatch) -> list[float]:
    """The client's pauses between its tries, noted and not taken."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    return pauses


@pytest.fixture
def quick_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of a push a hundred times as short, those of the client's uploads none."""
    monkeypatch.setattr(calls, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished stage with a student of two layers."""
    return save_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def wellread(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wellread:
    """The command, in this process."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)

    def called(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["wellread", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        ended = capsys.readouterr()
        return int(str(end.value.code or 0)), ended.out, ended.err

    return called
