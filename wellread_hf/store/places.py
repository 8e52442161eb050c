"""Where a named model or data set lies: a folder or file here, or a pinned revision on the Hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from wellread_hf.errors import DataError, SourceError, library_errors_as
from wellread_hf.store.fingerprints import ADAPTER_CONFIG, fingerprint, with_named_elsewhere
from wellread_hf.store.stage import Location, RepoType

# What was found so far inside `each_found_once`; None outside, where files may change between two calls.
_FOUND: ContextVar[dict[tuple[str, ...], Location] | None] = ContextVar("_FOUND", default=None)


@contextmanager
def each_found_once() -> Iterator[None]:
    """Asks disk and Hub once about each name that is located inside: a sweep names one 12,960 times."""
    before = _FOUND.set({})
    try:
        yield
    finally:
        _FOUND.reset(before)


def locate(
    name: str, repo_type: RepoType, field: str, revision: str | None = None, memory: Path | None = None
) -> Location:
    """Finds a model or data set by name and pins what was found.

    Args:
        name: A path here, or a Hub id; a model's may carry `@REVISION`.
        repo_type: `model` or `dataset`.
        field: The setting that the name came from; errors name it.
        revision: Branch, tag or commit on the Hub.
        memory: File that remembers file digests, see `records.file_digest`.

    Raises:
        SourceError: There is no such path, and no such repository on the Hub or no way to it.
    """
    found, key = _FOUND.get(), (name, repo_type, revision or "")
    if found is not None and key in found:
        return replace(found[key], field=field)
    at = _locate(name, repo_type, field, revision, memory)
    if found is not None:
        found[key] = at
    return at


def _locate(
    name: str, repo_type: RepoType, field: str, revision: str | None, memory: Path | None
) -> Location:
    what = f"`{field}` {name}"
    if not name:
        # As a path it would be this folder.
        raise SourceError(f"`{field}`: expected a path or a Hub id, got nothing; give one")
    try:
        path = Path(name).expanduser()
        here = path.exists()
    except PermissionError as error:
        raise SourceError(f"{what}: cannot be read ({error.strerror}); check its rights") from error
    except (OSError, RuntimeError):
        # Too long for a file's name, or the home of an unknown user: no path at all.
        here = False
    if not here:
        repo_id, _, tag = name.partition("@")
        return _on_the_hub(repo_id, repo_type, field, revision or tag or None)
    with library_errors_as(SourceError, f"{what}: cannot be read", "check the path and its rights"):
        if not (path.is_dir() or path.is_file()):
            raise SourceError(f"{what}: expected a file or folder, got neither; give one")
        found = fingerprint(path, repo_type, memory, _hub_fingerprint)
    return Location(name=str(path), revision=None, fingerprint=found, repo_type=repo_type, field=field)


def check_unchanged(location: Location, memory: Path | None = None) -> None:
    """Compares what lies at a place with what was found there.

    Size and times are compared first, so that unchanged files are not read again.

    Raises:
        DataError: It was changed or removed.
    """
    path = Path(location.name)
    if location.fingerprint.startswith("hub:") or (memory and memory.parent.resolve() == path.resolve()):
        # A commit never changes, and the folder of all stages always does.
        return
    try:
        same = (
            path.exists()
            and fingerprint(path, location.repo_type, memory, _hub_fingerprint) == location.fingerprint
        )
    except OSError:
        same = False
    if not same:
        raise DataError(
            f"{path} was changed after this run had looked at it; what was made of it is not kept: run again"
        )


def _on_the_hub(repo_id: str, repo_type: RepoType, field: str, revision: str | None) -> Location:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    missing = f"`{field}` {repo_id}: there is no such file or folder"
    try:
        adapted = repo_type == "model"
        if constants.HF_HUB_OFFLINE:
            commit = _cached_commit(repo_id, repo_type, revision) or revision
        else:
            info: Any = HfApi().repo_info(repo_id, repo_type=repo_type, revision=revision)
            commit = info.sha
            adapted = adapted and any(file.rfilename == ADAPTER_CONFIG for file in info.siblings or ())
    except HFValidationError:
        raise SourceError(
            f"{missing}, and it is not a Hub id (NAME or NAMESPACE/NAME) either; check the path"
        ) from None
    except HfHubHTTPError as error:
        where = f" at revision {revision}" if revision else ""
        raise SourceError(
            f"{missing} here, and the Hub refused the {repo_type}{where} ({str(error).splitlines()[0]}); "
            "check the name, or log in with `hf auth login`"
        ) from error
    except Exception as error:
        # The client's transport errors come from the HTTP library it is built on, which changes with
        # its version; anything that is not one of those is a fault of ours and goes on.
        if not is_transport_error(error):
            raise
        raise SourceError(
            f"{missing} here, and the Hub cannot be reached ({error}); give `{field}` a local file or "
            "folder, or set HF_HUB_OFFLINE=1 if it is cached"
        ) from error
    found = Location(
        name=repo_id,
        revision=commit,
        fingerprint=f"hub:{repo_id}@{commit or 'cached'}",
        repo_type=repo_type,
        field=field,
    )
    path = fetch(found, ADAPTER_CONFIG) if adapted else None
    # The commit is that of the adapter, and its base model has one of its own.
    if path is None:
        return found
    adapted_to = with_named_elsewhere(found.fingerprint, path.parent, None, _hub_fingerprint)
    return replace(found, fingerprint=adapted_to)


def fetch(location: Location, file: str) -> Path | None:
    """Returns the path of one file of a model that was found, downloaded if it lies on the Hub.

    Args:
        location: Where the model lies.
        file: The file's name.

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
        f"{location}: {file} cannot be fetched from the Hub ({str(refused).splitlines()[0]}); "
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
        # Loading reports what is missing.
        return None
    return Path(folder).name


def is_transport_error(error: BaseException) -> bool:
    """Returns whether an error is of network or system, whatever HTTP library the Hub's client uses."""
    return isinstance(error, OSError) or any(
        base.__name__ in ("TransportError", "HTTPError") for base in type(error).__mro__
    )


# Asked once, so that it is one commit throughout a run; an error is not kept.
@cache
def _hub_fingerprint(name: str, revision: str | None) -> str:
    return _on_the_hub(name, "model", "", revision).fingerprint
