"""A static Space on its way to the Hub: the report's page, with the students that visitors can try in it."""

from collections.abc import Sequence
from pathlib import Path

from wellread_hf.errors import PublishError
from wellread_hf.hub.cards.run_facts import slug
from wellread_hf.hub.exports import with_export
from wellread_hf.hub.files import LocalFile, Upload
from wellread_hf.results.space import space_files
from wellread_hf.serving.export_facts import FILES
from wellread_hf.settings import Picking

_BESIDE = ("config.json", "tokenizer.json", "tokenizer_config.json")


def space_upload(runs: Sequence[Path]) -> Upload:
    """Renders the Space of exported classifiers of one task; their graphs lie in it, for a private one too.

    Args:
        runs: Folders of finished classifiers, or of their exports.

    Raises:
        PublishError: A run has no export, or they are of several tasks.
        StoreError: A stage is not finished, or was changed since.
    """
    models: dict[str, str] = {}
    files: dict[str, Path | bytes] = {}
    tasks = set()
    for run in runs:
        folder, record, export = with_export(run)
        if export is None or not export.facts.gives_labels:
            raise PublishError(
                f"`space`: {run} is no exported classifier, so a browser cannot run it; run wellread export "
                "on it, or leave it out"
            )
        tasks.add(export.task)
        # Of several seeds each is a model of its own.
        place = models[record.name] = f"./models/{record.name}"
        graph = FILES["fp32" if export.int8_refused else "int8"]
        allowed = export.files(LocalFile("model.safetensors", folder / "model.safetensors"))
        found = {file: export.folder / file for file in _BESIDE} | {graph: allowed[graph]}
        files |= {f"{place[2:]}/{path}": content for path, content in found.items()}
    if len(tasks) != 1:
        raise PublishError(f"`space`: expected runs of one task, got {', '.join(sorted(tasks)) or 'none'}")
    (task,) = tasks
    files |= space_files(sorted({run.absolute().parent for run in runs}), models, Picking(task=task))
    return Upload(
        name=f"{slug(task)}-students",
        files={path: LocalFile(path, files[path]) for path in sorted(files)},
        repo_type="space",
    )
