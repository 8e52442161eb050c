"""Finds the export that answers for a model: of a run, of a folder in Hub layout, or on the Hub."""

from pathlib import Path

from wellread_hf.errors import SourceError
from wellread_hf.serving.onnx_model import EXPORT, FILES, check_fresh
from wellread_hf.store.places import fetch, locate
from wellread_hf.store.records import RECORD, StageRecord

# Kinds whose answers are no labels.
WITHOUT_LABELS = ("fill-mask", "features")
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
        check_fresh(folder)
        return folder
    if (found := export_of_run(folder)) is None:
        is_model = (folder / "config.json").is_file()
        advice = f"`wellread export {folder}` writes one" if is_model else "give the folder of an export"
        raise SourceError(f"expected an exported model in {folder}, found none; {advice}")
    check_fresh(found, folder)
    return found


def export_of_run(folder: Path) -> Path | None:
    """Returns the last export of a run in the same folder of runs; None without one, and of what is no run.

    Of a classifier an export without labels counts only where there is no other.
    """
    if not (folder / RECORD).is_file():
        return None
    here, found = StageRecord.read(folder).fingerprint, []
    for path in folder.absolute().parent.glob(f"export-*/{RECORD}"):
        record = StageRecord.read(path.parent)
        if record.settings.get("model") == here:
            with_labels = record.outcome.get("kind") not in WITHOUT_LABELS
            found.append((with_labels, path.stat().st_mtime_ns, path.parent))
    return max(found)[-1] if found else None


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
