"""Finds the export that answers for a model: of a run, of a folder in Hub layout, or on the Hub."""

from collections.abc import Iterable
from pathlib import Path

from wellread_hf.errors import SourceError, library_errors_as
from wellread_hf.serving.export_facts import EXPORT, FILES, ExportFacts
from wellread_hf.store.places import fetch, locate
from wellread_hf.store.records import RECORD, StageRecord

# What a model needs beside its graphs; the last one some exporters do not write.
_NEEDED = ("config.json", "tokenizer.json", "tokenizer_config.json", EXPORT)


def find_export(place: str) -> Path:
    """Returns the folder of an exported model.

    Args:
        place: An export; a folder in Hub layout that has `onnx/`; a finished run whose export lies in the
            same folder of runs; or a Hub id (`NAME@REVISION`), whose few files are downloaded.

    Raises:
        SourceError: There is no such place, it has no export, or its export is of other weights.
    """
    folder = Path(place).expanduser()
    if not folder.exists():
        return _from_the_hub(place)
    if any((folder / file).is_file() for file in FILES.values()):
        _check_fresh(folder)
        return folder
    if (found := export_of_run(folder)) is None:
        is_model = (folder / "config.json").is_file()
        advice = _how_to_export(folder) if is_model else "give the folder of an export"
        raise SourceError(f"expected an exported model in {folder}, found none; {advice}")
    _check_fresh(found, folder)
    return found


def _how_to_export(folder: Path) -> str:
    """Names the command that exports a model, with its task where its record names one."""
    task = StageRecord.read(folder).settings.get("task") if (folder / RECORD).is_file() else None
    if not task:
        return f"`wellread export {folder}` writes one"
    # Where a user's own data lies is in no record.
    own = f", with the other settings of {task['name']} as in its training" if task["columns"] else ""
    return f"`wellread export {folder} --task {task['name']}` writes one{own}"


def export_of_run(folder: Path) -> Path | None:
    """Returns the export in the same folder of runs that answers for a run; None of what is no run."""
    if not (folder / RECORD).is_file():
        return None
    here = StageRecord.read(folder).fingerprint
    beside = (path.parent for path in folder.absolute().parent.glob(f"export-*/{RECORD}"))
    found = ((StageRecord.read(export), export) for export in beside)
    return answering(each for each in found if each[0].settings.get("model") == here)


def answering(exports: Iterable[tuple[StageRecord, Path]]) -> Path | None:
    """Returns which of a model's exports answers for it: the last one, but labels go before features.

    Args:
        exports: Their records and folders.
    """
    order = [
        (ExportFacts(record.outcome).gives_labels, (folder / RECORD).stat().st_mtime_ns, folder)
        for record, folder in exports
    ]
    return max(order)[-1] if order else None


def _check_fresh(folder: Path, model: Path | None = None) -> None:
    """Refuses graphs that were exported from other weights than the model has now.

    Args:
        folder: The export's.
        model: Folder of the model; default: what lies beside the graphs.

    Raises:
        SourceError: They were, or what lies there cannot be read.
    """
    weights, exported = (model or folder) / "model.safetensors", ExportFacts.read(folder).weights_sha256
    if exported is None or not weights.is_file():
        return
    # OpenSSL, which an answer does not need, is 4 MB.
    from wellread_hf.store.records import file_digest

    with library_errors_as(SourceError, f"{weights} cannot be read", "check its rights"):
        found = file_digest(weights)
    if found != exported:
        raise SourceError(
            f"{folder / 'onnx'} was exported from other weights ({exported[:12]}) than {weights} "
            f"({found[:12]}); run `wellread export` again"
        )


def _from_the_hub(place: str) -> Path:
    at = locate(place, "model", "model")
    graphs = [path for file in FILES.values() if (path := fetch(at, file)) is not None]
    if not graphs:
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE:
            raise SourceError(
                f"{at}: expected its export in the Hub's cache, found none; unset HF_HUB_OFFLINE to fetch it"
            )
        raise SourceError(
            f"{at}: expected {' or '.join(FILES.values())} in it, found neither; export it first"
        )
    for file in _NEEDED:
        fetch(at, file)
    # Both lie in one folder of the Hub's cache: the commit's.
    return graphs[0].parent.parent
