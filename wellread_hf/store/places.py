"""Where a named model or data set lies: a folder or file here, or a pinned revision on the Hub."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from wellread_hf.errors import DataError, SourceError, library_errors_as
from wellread_hf.store.records import RECORD, StageRecord, digest, file_digests, json_object
from wellread_hf.store.stage import Location as Location
from wellread_hf.store.stage import RepoType as RepoType

# A folder with one of these is a model's or a tokenizer's.
_ADAPTER = "adapter_config.json"
_MODEL_MARKS = ("config.json", "tokenizer_config.json", _ADAPTER)
# What loading a model never reads. All else counts: a file that is left out by mistake would let an older
# result pass for one of the changed model, one that is in by mistake costs a run.
_NEVER_READ = (
    *("*.md", "*.rst", "*.html", "*.pdf", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.svg", "*.webp", "*.ipynb"),
    *("LICENSE*", "LICENCE*", "NOTICE*", "dict.txt", "requirements*.txt", "*.csv", "*.tsv", "*.jsonl"),
    # What a trainer leaves.
    *("*.log", "log.json", "*results.json", "*results.txt", "*.yaml", "*.yml", "training_args.*", RECORD),
    *("trainer_state.json", "complete.json", "optimizer.*", "scheduler.*", "scaler.*", "events.out.*"),
    *("rng_state*", "random_states*", "*.part", "*.tmp", "*.lock", "*.swp", "*~"),
    # Weights in formats that are not read.
    *("*.h5", "*.msgpack", "*.ot", "*.onnx", "*.onnx_data", "*.tflite", "*.gguf", "*.ckpt*", "*.pt", "*.pth"),
    # Of generation, and of sentence-transformers.
    *("generation_config.json", "*.jinja", "chat_template.json", "modules.json"),
    *("sentence_bert_config.json", "config_sentence_transformers.json"),
)


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
        found = _fingerprint(path, repo_type, memory)
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
        same = path.exists() and _fingerprint(path, location.repo_type, memory) == location.fingerprint
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
            adapted = adapted and any(file.rfilename == _ADAPTER for file in info.siblings or ())
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
    path = fetch(found, _ADAPTER) if adapted else None
    # The commit is that of the adapter, and its base model has one of its own.
    return (
        found if path is None else replace(found, fingerprint=_with(found.fingerprint, path.parent, None, ()))
    )


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


def _fingerprint(path: Path, repo_type: RepoType, memory: Path | None, above: tuple[Path, ...] = ()) -> str:
    if repo_type == "model" and path.is_dir():
        for file in path.iterdir():
            if file.exists() and not (file.is_file() or file.is_dir()):
                # Loading would open it, and wait for a writer.
                raise SourceError(
                    f"{file}: expected a file, got a pipe or a device; take it out of the folder"
                )
    is_model = repo_type == "model" and any((path / mark).is_file() for mark in _MODEL_MARKS)
    stage = next((folder for folder in (path, *path.parents) if (folder / RECORD).is_file()), None)
    if stage is not None:
        record = StageRecord.read(stage)
        record.check_outputs(stage, path)
        found = f"stage:{record.digest}:{path.relative_to(stage)}"
    else:
        files = {path.name: path}
        if path.is_dir():
            # The folder of all stages, which grows with every run, is no part of the data around it.
            runs = {memory.parent.resolve()} if memory is not None else set()
            chosen = _model_files(path) if is_model else _files(path, tuple(runs - {path.resolve()}))
            files = {str(file.relative_to(path)): file for file in chosen}
        digests = file_digests(files.values(), memory)
        found = "sha256:" + digest([(name, digests[files[name]]) for name in sorted(files)])
    # A stage knows what it was made of.
    return _with(found, path, memory, above) if is_model and path != stage else found


def _with(fingerprint: str, folder: Path, memory: Path | None, above: tuple[Path, ...]) -> str:
    """Adds to a model's fingerprint those of what its files name elsewhere."""
    real = folder.resolve()
    if real in above:
        return fingerprint
    found = [_elsewhere(*place, memory, (*above, real)) for place in _named_elsewhere(folder)]
    return f"{fingerprint}+{digest(found)[:12]}" if found else fingerprint


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Walks through a folder, links followed as `datasets` follows them; hidden files are not read.

    Folders that are `above` are left out: a link may lead in a circle.
    """
    real = folder.resolve()
    if real in above:
        return
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files(path, (*above, real))
        elif path.is_file():
            yield path


def _model_files(folder: Path) -> Iterable[Path]:
    """Returns what loading a model may read: the files on top, and code wherever it lies."""
    return (
        file
        for file in _files(folder)
        if file.suffix == ".py"
        or (file.parent == folder and not any(fnmatch(file.name, known) for known in _NEVER_READ))
    )


def _named_elsewhere(folder: Path) -> Iterator[tuple[str, str | None]]:
    """Names the models and code outside a folder that loading it reads too, with their revisions."""
    # Loading the model reports what is wrong with a file.
    config, adapter = json_object(folder / "config.json"), json_object(folder / _ADAPTER)
    base = adapter.get("base_model_name_or_path")
    # As transformers has it: beside a whole model an adapter belongs to that one.
    if isinstance(base, str) and not (folder / "config.json").is_file():
        revision = adapter.get("revision")
        yield base, revision if isinstance(revision, str) else None
    for names in (config.get("auto_map"), json_object(folder / "tokenizer_config.json").get("auto_map")):
        for name in names.values() if isinstance(names, dict) else ():
            for reference in name if isinstance(name, list) else (name,):
                if isinstance(reference, str) and "--" in reference:
                    yield reference.partition("--")[0], None


def _elsewhere(name: str, revision: str | None, memory: Path | None, above: tuple[Path, ...]) -> str:
    """Returns the fingerprint of another model; its name alone where it is not known.

    Loading it reports what is wrong with it, and a tokenizer may not need it.
    """
    try:
        path = Path(name)
        return _fingerprint(path, "model", memory, above) if path.is_dir() else _hub_commit(name, revision)
    except OSError:
        return name


# Asked once, so that it is one commit throughout a run.
@cache
def _hub_commit(name: str, revision: str | None) -> str:
    try:
        return _on_the_hub(name, "model", "", revision).fingerprint
    except (OSError, SourceError):
        return name
