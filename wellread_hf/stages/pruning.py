"""From a model to the same one with a smaller vocabulary."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wellread_hf.errors import SettingsError, SourceError, StoreError
from wellread_hf.settings import Running, Task
from wellread_hf.stages.inputs import FoundTask, Sources, find, reading_version, refuse_tagging
from wellread_hf.stages.objectives import config_of, shape_of
from wellread_hf.stages.transfer_set import TASK
from wellread_hf.store.records import unchecked
from wellread_hf.store.stage import Place, Stage, short_name

# Rows on which the model is compared with what it was.
_COMPARED = 64


def prune(
    model: Place, task: Task | None, text: Sequence[str], vocabulary: int | None, running: Running
) -> Stage:
    """Keeps of a model's word embeddings those that some text uses, and saves it as before.

    The folder is of the same class as the model, with the tokenizer of the kept pieces. It is loaded as
    anyone would, and compared with the model on rows whose pieces are all kept: its outputs are the same
    numbers.

    Args:
        model: A classifier or a masked LM with a WordPiece tokenizer.
        task: Whose training text `task` in `text` stands for.
        text: What the pieces are counted in: `task`, and sources as in a corpus.
        vocabulary: Pieces to keep; None: all that the text uses.
        running: Where it goes.

    Raises:
        SettingsError: No text is named, or `task` without a task.
    """
    if not text or (TASK in text and task is None):
        raise SettingsError("`text`: expected text to count pieces in, got none; name files, or a task")
    model_at = find(model, "model", "model", running)
    found_task = FoundTask(task, running) if task is not None and TASK in text else None
    sources = Sources([spec for spec in text if spec != TASK], "text", running)

    def texts() -> Iterator[tuple[str, ...]]:
        if found_task is not None:
            yield from found_task.load().train.texts
        yield from sources.texts()

    def check() -> None:
        sources.check()
        if found_task is not None:
            refuse_tagging(found_task.task, "a tokenizer is pruned for texts")
            found_task.check()

    def work(stage: Stage) -> Mapping[str, Any]:
        from transformers import AutoTokenizer

        from wellread_hf.models.load import check_fit, load_tokenizer
        from wellread_hf.models.prune import (
            count_pieces,
            kept_pieces,
            pruned_model,
            pruned_tokenizer,
            split_differently,
        )
        from wellread_hf.models.save import save_model
        from wellread_hf.models.weights import load_whole

        (kind, *_) = config_of(model_at).get("architectures") or [""]
        if not kind:
            raise SourceError(
                f"{model_at}: expected a model with a config.json that names its class, found none; give a "
                "folder or a Hub id (merge an adapter first)"
            )
        tokenizer: Any = load_tokenizer(model_at)
        used = count_pieces(texts(), tokenizer)
        kept = kept_pieces(used, tokenizer, vocabulary)
        before, _ = load_whole(kind, model_at, "model")
        check_fit(before, tokenizer)
        # Deleted unless it passes: a wrong copy must not lie where a model is looked for.
        with unchecked(stage.folder) as folder:
            save_model(pruned_model(before.eval(), kept), pruned_tokenizer(tokenizer, kept), folder)
            after, words = type(before).from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
            compared = _compare((before, tokenizer), (after, words), texts(), set(kept))
        held_out = [] if found_task is None else found_task.load().validation.texts
        sizes = [sum(part.numel() for part in each.parameters()) for each in (before, after)]
        return {
            "architecture": kind,
            "vocabulary": len(kept),
            "vocabulary_before": len(tokenizer),
            "pieces_used": len(used),
            # Of the text itself.
            "share_kept": sum(used[number] for number in kept) / max(used.total(), 1),
            "held_out": split_differently(held_out, tokenizer, words),
            "parameters": sizes[1],
            "parameters_before": sizes[0],
            "rows_compared": compared,
        }

    return Stage(
        kind="prune",
        name=short_name(model),
        root=running.runs,
        identity={
            "model": model_at.fingerprint,
            # Labels do not matter, nor how many rows a student is given.
            "task": None if found_task is None else found_task.identity(uses_labels=False, chooses=False),
            "text": sources.identity,
            "vocabulary": vocabulary,
        },
        inputs=[model_at, *sources.locations, *([] if found_task is None else found_task.locations)],
        work=work,
        check=check,
        solo=True,
        shape=lambda: shape_of(model_at),
        version=reading_version(model_at) or 1,
    )


def _compare(
    before: tuple[Any, Any], after: tuple[Any, Any], texts: Iterator[tuple[str, ...]], kept: set[int]
) -> int:
    """Compares two models row by row where all pieces are kept; returns the rows.

    Raises:
        StoreError: An output differs.
    """
    import torch

    compared = 0
    for row in texts:
        if compared == _COMPARED:
            break
        ours, theirs = (
            words(*row, truncation=True, max_length=128, return_tensors="pt") for _, words in (before, after)
        )
        if not kept.issuperset(ours["input_ids"].flatten().tolist()):
            continue
        with torch.inference_mode():
            # A head over fewer words may sum in another order; then the encoder's last states.
            states = [
                (model if model.get_output_embeddings() is None else model.base_model)(**inputs)[0]
                for (model, _), inputs in ((before, ours), (after, theirs))
            ]
        if not torch.equal(*states):
            raise StoreError(
                f"the pruned model differs on {row[0]!r:.60} by {(states[0] - states[1]).abs().max():g}; it "
                "is not kept, please report it"
            )
        compared += 1
    return compared
