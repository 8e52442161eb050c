"""Where a named model or data set lies: a folder or file here, or a pinned revision on the Hub."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wellread_hf.errors import SourceError
from wellread_hf.records import RECORD, StageRecord, digest, file_digest

RepoType = Literal["model", "dataset"]

# What decides a model's behaviour; logs and pictures beside it do not change its fingerprint.
_MODEL_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "pytorch_model.bin",
    "config.json",
    "tokenizer*.json",
    "vocab.*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.model",
    "*.py",
)


# What was found already, while somebody plans many runs over the same inputs.
_FOUND: ContextVar[dict[tuple[str, ...], "Location"] | None] = ContextVar("_FOUND", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A model or data set that was found.

    Attributes:
        name: What to hand to `from_pretrained` or `load_dataset`: a folder, a file or a Hub id.
        revision: The Hub commit it was resolved to; None for local ones.
        fingerprint: Stands for the content: a Hub commit, a stage's digest or a SHA-256 of files.
    """

    name: str
    revision: str | None
    fingerprint: str


@contextmanager
def each_found_once() -> Iterator[None]:
    """Asks disk and Hub once about each name that is located inside, however often it is named."""
    before = _FOUND.set({})
    try:
        yield
    finally:
        _FOUND.reset(before)


def locate(
    name: str, repo_type: RepoType, option: str, revision: str | None = None, memory: Path | None = None
) -> Location:
    """Finds a model or data set by name and pins what was found.

    Args:
        name: A path here, or a Hub id; a model's may carry `@REVISION`.
        repo_type: `model` or `dataset`.
        option: The command-line option that the name came from; errors name it.
        revision: Branch, tag or commit on the Hub.
        memory: File that remembers file digests, see `records.file_digest`.

    Raises:
        SourceError: There is no such path, and no such repository on the Hub or no way to it.
    """
    found, key = _FOUND.get(), (name, repo_type, revision or "")
    if found is None:
        return _locate(name, repo_type, option, revision, memory)
    if key not in found:
        found[key] = _locate(name, repo_type, option, revision, memory)
    return found[key]


def _locate(
    name: str, repo_type: RepoType, option: str, revision: str | None, memory: Path | None
) -> Location:
    try:
        path = Path(name).expanduser()
        here = path.exists()
    except (OSError, RuntimeError):
        # Too long for a file's name, or the home of a user who is none: no path at all.
        here = False
    if here:
        return Location(name=str(path), revision=None, fingerprint=_fingerprint(path, memory))
    repo_id, _, tag = name.partition("@")
    return _on_the_hub(repo_id, repo_type, option, revision or tag or None)


def _on_the_hub(repo_id: str, repo_type: RepoType, option: str, revision: str | None) -> Location:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        if constants.HF_HUB_OFFLINE:
            found = _cached_commit(repo_id, repo_type, revision) or revision
            return Location(name=repo_id, revision=found, fingerprint=f"hub:{repo_id}@{found or 'cached'}")
        info = HfApi().repo_info(repo_id, repo_type=repo_type, revision=revision)
    except HFValidationError:
        raise SourceError(
            f"{option} {repo_id}: there is no such file or folder, and it is not a Hub id (NAME or "
            "NAMESPACE/NAME) either; check the path"
        ) from None
    except HfHubHTTPError as error:
        where = f" at revision {revision}" if revision else ""
        raise SourceError(
            f"{option} {repo_id}: there is no such file or folder here, and the Hub refused the "
            f"{repo_type}{where} ({str(error).splitlines()[0]}); check the name, or log in with "
            "`hf auth login`"
        ) from error
    except Exception as error:
        # The client's transport errors come from the HTTP library it is built on, which changes with
        # its version; anything that is not one of those is a fault of ours and goes on.
        if not is_transport_error(error):
            raise
        raise SourceError(
            f"{option} {repo_id}: there is no such file or folder here, and the Hub cannot be reached "
            f"({error}); give {option} a local file or folder, or set HF_HUB_OFFLINE=1 if it is cached"
        ) from error
    return Location(name=repo_id, revision=info.sha, fingerprint=f"hub:{repo_id}@{info.sha}")


def fetch(location: Location, file: str, option: str) -> Path | None:
    """Returns the path of one file of a model that was found, downloaded if it lies on the Hub.

    Args:
        location: Where the model lies.
        file: The file's name.
        option: The command-line option that named the model.

    Returns:
        None where the model has no such file, or, offline, the Hub's cache has none.

    Raises:
        SourceError: The Hub refused it or cannot be reached.
    """
    if not location.fingerprint.startswith("hub:"):
        path = Path(location.name) / file
        return path if path.is_file() else None
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(location.name, file, revision=location.revision))
    except EntryNotFoundError as error:
        # That there is no connection looks like a missing file, too.
        if not isinstance(error, LocalEntryNotFoundError) or constants.HF_HUB_OFFLINE:
            return None
        refused: Exception = error
    except Exception as error:
        if not isinstance(error, HfHubHTTPError) and not is_transport_error(error):
            raise
        refused = error
    raise SourceError(
        f"{option} {location.name}: {file} cannot be fetched from the Hub ({str(refused).splitlines()[0]}); "
        "run again when the Hub answers"
    ) from refused


def _cached_commit(repo_id: str, repo_type: RepoType, revision: str | None) -> str | None:
    """Returns the commit that the Hub's cache here holds of a revision; None where it holds none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        # No file matches: nothing is asked for but the name of the folder.
        folder = snapshot_download(
            repo_id, repo_type=repo_type, revision=revision, local_files_only=True, allow_patterns=[]
        )
    except LocalEntryNotFoundError:
        # What is missing is told by whoever loads it, with the same words as ever.
        return None
    return Path(folder).name


def is_transport_error(error: BaseException) -> bool:
    """Tells whether an error is of network or system, whatever HTTP library the Hub's client is built on."""
    return isinstance(error, OSError) or any(
        base.__name__ in ("TransportError", "HTTPError") for base in type(error).__mro__
    )


def _fingerprint(path: Path, memory: Path | None) -> str:
    stage = next((folder for folder in (path, *path.parents) if (folder / RECORD).is_file()), None)
    if stage is not None:
        return f"stage:{StageRecord.read(stage).digest}:{path.relative_to(stage)}"
    files = {path.name: path}
    if path.is_dir():
        files = {str(file.relative_to(path)): file for file in _content(path)}
    return "sha256:" + digest([(name, file_digest(files[name], memory)) for name in sorted(files)])


def _content(folder: Path) -> Iterable[Path]:
    if (folder / "config.json").is_file() or (folder / "tokenizer_config.json").is_file():
        return {file for pattern in _MODEL_FILES for file in folder.glob(pattern)}
    return (
        file
        for file in folder.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
