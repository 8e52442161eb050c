"""Fingerprints of local content: the digest of the stage that made it, or SHA-256 of its files."""

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from wellread_hf.errors import SourceError
from wellread_hf.store.records import RECORD, StageRecord, digest, file_digests, json_object
from wellread_hf.store.stage import RepoType

HubFingerprint = Callable[[str, str | None], str]

# A folder with one of these is a model's or a tokenizer's.
ADAPTER_CONFIG = "adapter_config.json"
_MODEL_MARKS = ("config.json", "tokenizer_config.json", ADAPTER_CONFIG)
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


def fingerprint(
    path: Path, repo_type: RepoType, memory: Path | None, hub: HubFingerprint, above: tuple[Path, ...] = ()
) -> str:
    """Returns what stands for the content of a file or folder.

    Args:
        path: Where it lies.
        repo_type: As what it is read.
        memory: File that remembers file digests, see `records.file_digests`.
        hub: Returns the fingerprint of a model on the Hub that the folder's files name.
        above: Folders of models that led here; a model may name itself.

    Raises:
        SourceError: A model's folder holds a pipe or a device.
        StoreError: A stage's output was changed since.
    """
    if repo_type == "model" and path.is_dir():
        for file in path.iterdir():
            if file.exists() and not (file.is_file() or file.is_dir()):
                # Loading would open it, and wait for a writer.
                raise SourceError(
                    f"{file}: expected a file, got a pipe or a device; take it out of the folder"
                )
    is_model = repo_type == "model" and any((path / mark).is_file() for mark in _MODEL_MARKS)
    # What a stage made is known by that stage's digest, without reading it.
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
    return with_named_elsewhere(found, path, memory, hub, above) if is_model and path != stage else found


def with_named_elsewhere(
    found: str, folder: Path, memory: Path | None, hub: HubFingerprint, above: tuple[Path, ...] = ()
) -> str:
    """Adds to a model's fingerprint those of what its files name elsewhere."""
    real = folder.resolve()
    if real in above:
        return found
    named = [_elsewhere(*place, memory, hub, (*above, real)) for place in _named_elsewhere(folder)]
    return f"{found}+{digest(named)[:12]}" if named else found


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
    config, adapter = json_object(folder / "config.json"), json_object(folder / ADAPTER_CONFIG)
    base = adapter.get("base_model_name_or_path")
    # As transformers has it: beside a whole model an adapter belongs to that one.
    if isinstance(base, str) and not (folder / "config.json").is_file():
        revision = adapter.get("revision")
        yield base, revision if isinstance(revision, str) else None
    for names in (config.get("auto_map"), json_object(folder / "tokenizer_config.json").get("auto_map")):
        for name in names.values() if isinstance(names, dict) else ():
            for reference in name if isinstance(name, list) else (name,):
                # The form in which transformers names code of another repository: REPOSITORY--module.Class.
                if isinstance(reference, str) and "--" in reference:
                    yield reference.partition("--")[0], None


def _elsewhere(
    name: str, revision: str | None, memory: Path | None, hub: HubFingerprint, above: tuple[Path, ...]
) -> str:
    """Returns the fingerprint of another model; its name alone where it is not known.

    Loading it reports what is wrong with it, and a tokenizer may not need it.
    """
    try:
        path = Path(name)
        return fingerprint(path, "model", memory, hub, above) if path.is_dir() else hub(name, revision)
    except (OSError, SourceError):
        return name
