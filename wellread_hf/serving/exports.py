"""Finds the export that answers for a model: of a run, of a folder in Hub layout, or on the Hub."""

from collections.abc import Iterator
from pathlib import Path

from wellread_hf.errors import SourceError
from wellread_hf.serving.onnx_model import EXPORT, FILES, check_fresh
from wellread_hf.store.places import fetch, locate
from wellread_hf.store.records import RECORD, StageRecord

# Whose answers are no labels: of a classifier they are taken only where there is nothing else.
_WITHOUT_LABELS = ("fill-mask", "features")
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
    found = list(_of_run(folder))
    if not found:
        raise SourceError(
            f"expected an exported model in {folder}, found none; `wellread export {folder}` writes one"
        )
    return max(found, key=lambda path: (path / RECORD).stat().st_mtime)


def _of_run(folder: Path) -> Iterator[Path]:
    if not (folder / RECORD).is_file():
        return
    here = f"stage:{StageRecord.read(folder).digest}:."
    of_run = {}
    for path in folder.absolute().parent.glob(f"export-*/{RECORD}"):
        record = StageRecord.read(path.parent)
        if record.settings.get("model") == here:
            of_run[path.parent] = record.outcome.get("kind") in _WITHOUT_LABELS
    for path, without_labels in of_run.items():
        if not without_labels or all(of_run.values()):
            yield path


def _from_the_hub(place: str) -> Path:
    at = locate(place, "model", "model")
    graphs = [path for file in FILES.values() if (path := fetch(at, file)) is not None]
    if not graphs:
        raise SourceError(
            f"{at}: expected {' or '.join(FILES.values())} in it, found neither; export it first"
        )
    for file in _NEEDED:
        fetch(at, file)
    # Both lie in one folder of the Hub's cache: the commit's.
    return graphs[0].parent.parent
