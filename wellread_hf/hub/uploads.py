"""What a finished stage becomes on the Hub: an allow-list of files, checked here before the first request."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError, safe_open

from wellread_hf.errors import PublishError, library_errors_as
from wellread_hf.hub.cards import MODELS, facts_of_run, finished_stage, render
from wellread_hf.hub.cards.labels_card import soft_labels_card
from wellread_hf.hub.cards.secrets import secrets_in
from wellread_hf.hub.exports import INT8_BRANCH, Export, with_export
from wellread_hf.hub.files import LocalFile, Upload
from wellread_hf.hub.names import family_order, is_repo_name
from wellread_hf.hub.space import space_upload
from wellread_hf.results.lineage import each_read_once
from wellread_hf.store.progress import bar
from wellread_hf.store.records import ADAPTER, RECORD, SETTINGS
from wellread_hf.store.stage import RepoType

_MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
_OPTIONAL_FILES = ("special_tokens_map.json", "vocab.txt")
# What our stages and `wellread card` leave in a run's folder beside the model; it is not uploaded.
# A kill between a record and the tidying after it leaves locks and checkpoints.
_NOT_UPLOADED = (RECORD, SETTINGS, "log.json", "README.md", "switches.json", ".lock")
_FOLDERS_NOT_UPLOADED = (".eval_results", ADAPTER, "checkpoints", "unchecked")
_INT8_NOTE = (
    "This branch is for servers that take `onnx/model.onnx` and cannot be given another name, such as\n"
    "text-embeddings-inference: here that file is the int8 one. The rest is as on `main`."
)
_SHARD = re.compile(r"shard-\d{5}-of-\d{5}\.safetensors")


def uploads_of_runs(
    runs: Sequence[Path],
    namespace: str,
    name: str | None,
    eval_results: bool,
    int8: bool = False,
    space: bool = False,
) -> list[Upload]:
    """Renders the cards of finished stages and checks everything that would be uploaded.

    With `int8` each model has a branch as well, on which int8 is the only ONNX file; with `space` there is a
    static Space of them all.

    Raises:
        PublishError: There is nothing to upload, or something that must not be.
    """
    if not runs:
        raise PublishError("expected folders of finished stages, got none; give runs/pretrain-... and so on")
    if name is not None and len(runs) > 1:
        raise PublishError(f"`name` {name} is for a single run, got {len(runs)}; leave it out")
    if name == "":
        raise PublishError("`name` is empty: expected a repository's name; leave it out for the family's")
    uploads = []
    with each_read_once(), bar("cards", "repositories", len(runs)) as shown:
        # A card links to what is pushed beside it, and to nothing that may not be there.
        beside = _names(runs, namespace or None) if len(runs) > 1 else ()
        for run in runs:
            upload = upload_of_run(run, namespace or None, name, eval_results, beside)
            uploads += [upload, int8_branch(run, upload)] if int8 else [upload]
            shown.update()
    if space:
        uploads.append(space_upload(runs))
    hash_files(uploads)
    uploads.sort(key=lambda upload: family_order(upload.name))
    # Before anybody is asked to log in; the push checks again with the token.
    check_uploads(uploads, token=None)
    return uploads


def upload_of_run(
    folder: Path,
    namespace: str | None = None,
    name: str | None = None,
    eval_results: bool = False,
    beside: tuple[str, ...] = (),
) -> Upload:
    """Collects the files of a finished stage and renders its card; of a model or its export, both.

    The namespace is for the card's examples. Without a name the repository gets the family's, for instance
    `bert-4-256` or `bert-4-256-sst2`. Its card links to the repositories beside it.

    Raises:
        PublishError: The stage made nothing that is published, or its files break a rule.
        StoreError: The stage is not finished, or a file was changed since.
        CardError: Its card has a value that the Hub would refuse.
    """
    with finished_stage(folder):
        folder, record, export = with_export(folder)
        record.check_outputs(folder)
        if record.kind == "label":
            # Soft labels of other settings are another repository.
            name = name or f"{record.name}-soft-labels-{record.digest[:8]}"
            # The command line may name folders of this machine; the Hub has no use for it.
            shown = replace(record, command="")
            card = soft_labels_card(record, name if namespace is None else f"{namespace}/{name}")
            added = {RECORD: shown.text.encode(), "README.md": card.encode()}
            return soft_labels_upload(folder, name, added, note=f"soft labels for {record.name}")
        if record.kind not in MODELS:
            raise PublishError(
                f"{folder} is the folder of a stage {record.kind!r}: expected one of "
                f"{', '.join((*MODELS, 'label'))}"
            )
        facts = replace(facts_of_run(folder, name, namespace), beside=beside)
        rendered = render(facts, eval_results=eval_results)
        parameters = "" if facts.measured is None else f", {facts.measured.weights / 1e6:.1f}M parameters"
        # A collection may list adopted and trained ones of one size.
        made = "" if facts.made is None else f", {facts.made}"
        note = (
            f"L = {facts.student.layers}, H = {facts.width}{', a toy' if facts.toy else ''}{parameters}{made}"
        )
        return model_upload(folder, facts.name, rendered.files, note, export)


def _names(runs: Sequence[Path], namespace: str | None) -> tuple[str, ...]:
    """Returns the names of models' repositories; refuses two of one name, as an adopted and a trained one."""
    found: dict[str, str] = {}
    for run in runs:
        with finished_stage(run):
            folder, record, _ = with_export(run)
            if record.kind not in MODELS:
                continue
            facts = facts_of_run(folder, None, namespace)
        this = f"{run.name} ({facts.made or record.kind})"
        if (other := found.setdefault(facts.name, this)) != this:
            raise PublishError(
                f"nothing was sent: two repositories are named {facts.name}, of {other} and of {this}; push "
                f"the latter by itself with a `name`, such as {facts.name}-{record.kind}"
            )
    return tuple(found)


def int8_branch(folder: Path, main: Upload) -> Upload:
    """Returns a model's upload as the branch that has int8 as `onnx/model.onnx`.

    Raises:
        PublishError: It has no export, or int8 was refused there.
    """
    folder, _, export = with_export(folder)
    refused = "it has no export" if export is None else export.int8_refused
    if export is None or refused:
        raise PublishError(
            f"`revision_int8`: {folder} has no int8 file ({refused}); run wellread export on it, or leave "
            "the setting out"
        )
    card = main.files["README.md"].text()
    head, title, body = card.partition(f"\n# {main.name}\n")
    instead = export.int8_files() | {"README.md": f"{head}{title}\n{_INT8_NOTE}\n{body}".encode()}
    files = {
        path: LocalFile(path, instead[path]) if path in instead else file for path, file in main.files.items()
    }
    return replace(main, files=files, branch=INT8_BRANCH)


def model_upload(
    folder: Path, name: str, added: Mapping[str, bytes], note: str = "", export: Export | None = None
) -> Upload:
    """Takes the files of a saved model, with the card, picture and scores that only the Hub gets.

    The ONNX files of its export go with it.

    Raises:
        PublishError: A file is missing or not on the allow-list, is a link, or has damaged weights.
    """
    found = _allowed_files(folder, (*_MODEL_FILES, *_OPTIONAL_FILES))
    missing = [file for file in _MODEL_FILES if file not in found]
    if missing:
        raise PublishError(
            f"{folder}: expected a saved model with {', '.join(_MODEL_FILES)}, {', '.join(missing)} missing; "
            "save it again with save_pretrained (safetensors), tokenizer included"
        )
    contents = {}
    for file, path in found.items():
        if path.suffix == ".json":
            with library_errors_as(PublishError, f"{path}: not JSON", "save the model again"):
                contents[file] = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(contents[file], dict):
                raise PublishError(
                    f"{path}: expected a JSON object, got something else; save the model again"
                )
    if not contents["config.json"].get("architectures"):
        raise PublishError(
            f"{found['config.json']}: expected architectures, got none, so pipelines would not know what "
            "to load; save the model again, or take it over with wellread adopt"
        )
    _check_tensors(found["model.safetensors"])
    if export is not None:
        added = {**added, **export.config(contents["config.json"])}
        found |= export.files(LocalFile("model.safetensors", found["model.safetensors"]))
    return _upload(name, found, added, "model", note)


def soft_labels_upload(folder: Path, name: str, added: Mapping[str, bytes], note: str = "") -> Upload:
    """Takes the shards of a finished labelling stage, with the card and the record that only the Hub gets.

    Raises:
        PublishError: A file is not on the allow-list, is a link, or is damaged; or there is no shard.
    """
    found = _allowed_files(folder, (), _SHARD)
    if not found:
        raise PublishError(f"{folder}: expected shards of soft labels, found none; run wellread label")
    for shard in found.values():
        _check_tensors(shard)
    return _upload(name, found, added, "dataset", note)


def check_uploads(uploads: Sequence[Upload], token: str | None) -> None:
    """Checks names, and every text for secrets; call it before anything is sent.

    Raises:
        PublishError: With all that was found.
    """
    problems = [problem for upload in uploads for problem in _problems(upload, token)]
    names = [upload.place for upload in uploads]
    problems += [f"two repositories are named {name}" for name in sorted(set(names)) if names.count(name) > 1]
    if problems:
        raise PublishError("nothing was sent: " + "; ".join(problems))


def hash_files(uploads: Sequence[Upload]) -> None:
    """Computes the SHA-256 of every file, on all cores; later looks cost nothing."""
    files = [file for upload in uploads for file in upload.files.values()]
    total = sum(file.size for file in files)
    with (
        bar("hashing", "B", total, unit_scale=True, unit_divisor=1024) as shown,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        # The largest first, so that no core is left with it at the end.
        files.sort(key=lambda file: -file.size)
        for file, _ in zip(files, pool.map(lambda file: file.sha256, files), strict=True):
            shown.update(file.size)


def _problems(upload: Upload, token: str | None) -> Iterator[str]:
    if not is_repo_name(upload.name):
        yield (
            f"{upload.name!r} is no name for a repository: expected up to 96 lower-case letters, digits, "
            ". _ -, beginning and ending with a letter or digit, without -- and .."
        )
    for file in upload.files.values():
        text = file.text()
        found = [*secrets_in(text)]
        if token and token in text:
            found.append("the token that you are logged in with")
        if found:
            yield (
                f"{upload.name}: {file.path} holds what looks like a token or a private key "
                f"({', '.join(found)}); take it out (and revoke it, if it was real)"
            )


def _upload(
    name: str, found: Mapping[str, Path], added: Mapping[str, bytes], repo_type: RepoType, note: str
) -> Upload:
    contents: dict[str, Path | bytes] = {**found, **added}
    files = {path: LocalFile(path, contents[path]) for path in sorted(contents)}
    return Upload(name=name, files=files, repo_type=repo_type, note=note)


def _allowed_files(
    folder: Path, allowed: Sequence[str], pattern: re.Pattern[str] | None = None
) -> dict[str, Path]:
    if not folder.is_dir() or folder.is_symlink():
        raise PublishError(f"{folder}: expected a folder (not a link to one); give a run's folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name in _FOLDERS_NOT_UPLOADED and path.is_dir() and not path.is_symlink():
            continue
        if path.is_symlink() or not path.is_file():
            kind = "a link" if path.is_symlink() else "a folder" if path.is_dir() else "no ordinary file"
            raise PublishError(f"{path} is {kind}: expected ordinary files only; move it out of the folder")
        if path.name in allowed or (pattern and pattern.fullmatch(path.name)):
            found[path.name] = path
        elif path.name not in _NOT_UPLOADED and path.suffix not in (".png", ".part"):
            raise PublishError(
                f"{path} is not among the files that are uploaded ({', '.join(allowed)}); move it out of the "
                "folder"
            )
    return found


def _check_tensors(path: Path) -> None:
    # numpy is enough for a look at the names, so torch is not loaded.
    try:
        with safe_open(path, framework="numpy") as file:
            empty = not list(file.keys())
    except (SafetensorError, OSError) as error:
        raise PublishError(f"{path}: not a whole safetensors file ({error}); write it again") from error
    if empty:
        raise PublishError(f"{path} holds no tensors; write it again")
