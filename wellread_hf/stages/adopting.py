"""Taking over the checkpoints of others, Google's 24 above all, instead of a pre-training of our own."""

from collections.abc import Mapping
from typing import Any

from wellread_hf.errors import StoreError
from wellread_hf.models.adopt import SENTENCES, load_released, parity
from wellread_hf.models.bert_names import read_config
from wellread_hf.settings import Running
from wellread_hf.stages.inputs import find
from wellread_hf.store.records import unchecked
from wellread_hf.store.stage import Location, Place, Stage, short_name
from wellread_hf.students import STUDENTS

# In logits; the same weights on the same machine give the same bits.
_TOLERANCE = 1e-5


def adopt(source: Place, tokenizer: Place | None, pickle: bool, running: Running) -> Stage:
    """Saves a released BERT as a whole `BertForPreTraining` folder, checked against its source.

    A source without a pooler or a next-sentence head becomes a `BertForMaskedLM`.

    Args:
        source: Hub id (`NAME@REVISION`) or folder.
        tokenizer: Hub id or folder of another tokenizer than the source's.
        pickle: Read weights from a pickle where there are no safetensors.
        running: How it is carried out.
    """
    source_at = find(source, "model", "sources", running)
    tokenizer_at = None if tokenizer is None else find(tokenizer, "model", "tokenizer", running)

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.data.packing import check_tokenizer
        from wellread_hf.models.load import check_fit, load_tokenizer
        from wellread_hf.models.save import save_model

        model, left_out = load_released(source_at, pickle)
        if tokenizer_at is None:
            words = load_tokenizer(source_at, model.config)
        else:
            words = load_tokenizer(tokenizer_at)
        check_tokenizer(words, (tokenizer_at or source_at).name)
        # A vocab.txt says nothing of lengths.
        words.model_max_length = min(words.model_max_length, model.config.max_position_embeddings)
        check_fit(model, words)
        # Deleted unless it passes: a wrong copy must not lie where a model is looked for.
        with unchecked(stage.folder) as folder:
            save_model(model, words, folder)
            difference = parity(model, words, folder)
            # Not `>`, which NaN passes.
            if not difference <= _TOLERANCE:
                raise StoreError(
                    f"{source_at.name}: expected the saved model to give the source's logits to within "
                    f"{_TOLERANCE:g}, got a difference of {difference:g}; use the source as it is "
                    "(`start.weights`), and report this"
                )
        return {
            # A local path means nothing on a card that others read.
            "source": source_at.name if source_at.fingerprint.startswith("hub:") else None,
            "revision": source_at.revision,
            "parity": difference,
            "sentences": len(SENTENCES),
            "parameters": sum(values.numel() for values in model.parameters()),
            "left_out": left_out,
        }

    return Stage(
        kind="adopt",
        name=_name(source_at),
        root=running.runs,
        identity={
            "source": source_at.fingerprint,
            "tokenizer": None if tokenizer_at is None else tokenizer_at.fingerprint,
        },
        inputs=[source_at, *([] if tokenizer_at is None else [tokenizer_at])],
        work=work,
        solo=True,
        # 2: pooler and next-sentence head are kept.
        version=2,
    )


def _name(source_at: Location) -> str:
    # What a stage will make has no config yet, but it has a name.
    if source_at.fingerprint.startswith("stage:"):
        return short_name(source_at)
    config = read_config(source_at)
    size = config["num_hidden_layers"], config["hidden_size"]
    return next(
        (known.name for known in STUDENTS if (known.layers, known.hidden) == size), short_name(source_at)
    )
