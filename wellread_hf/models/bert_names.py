"""The names that BERTs have in files: weights, and what a config must say. Loads no torch."""

import json
import re
from typing import Any

from wellread_hf.errors import SourceError
from wellread_hf.store.places import fetch
from wellread_hf.store.stage import Location

# A `BertForPreTraining` has these, and a masked LM has no place for them.
NEXT_SENTENCE = ("bert.pooler.dense.weight", "cls.seq_relationship.weight")
NEXT_SENTENCE_PARTS = ("bert.pooler.", "cls.seq_relationship.")
# The same tensor twice: the word embeddings are the output matrix of the masked-LM head.
WORDS = ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight")
LAYER = re.compile(r"bert\.encoder\.layer\.(\d+)\.(.+)")
_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


def layer_weight(layer: int, rest: str) -> str:
    """Names a weight of a layer, counted from 0."""
    return f"bert.encoder.layer.{layer}.{rest}"


def read_config(location: Location) -> dict[str, Any]:
    """Reads the config of a BERT without loading torch, so that a plan can ask for it.

    Raises:
        SourceError: There is none, or it describes no stock BERT.
    """
    path = fetch(location, "config.json")
    if path is None:
        raise SourceError(
            f"{location}: expected a model with a config.json, found none; give a Hub id, "
            "or the folder that holds it"
        )
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise SourceError(f"{location}: config.json is not JSON ({error}); fetch it again") from error
    config: dict[str, Any] = found if isinstance(found, dict) else {}
    # A release from before there was `model_type` is a BERT like the others.
    kind = config.get("model_type", "bert")
    if kind != "bert" or "auto_map" in config:
        own = " with code of its own" if kind == "bert" else ""
        raise SourceError(
            f"{location}: expected a stock BERT, got model_type {kind}{own}; recipes take "
            "other models as they are, by `start.weights`"
        )
    if unsaid := [size for size in _SIZES if size not in config]:
        raise SourceError(
            f"{location}: expected a config.json with {', '.join(_SIZES)}, got none for "
            f"{', '.join(unsaid)}; take the one that was released with the weights"
        )
    return config
