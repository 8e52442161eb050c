"""Stock BERTs with the heads that a stage needs, of which those that the source lacks are new."""

from typing import Any, Literal

from wellread_hf.models.adoption import read_config
from wellread_hf.store.places import Location


def load_bert(
    location: Location, option: str, seed: int, kind: Literal["BertForMaskedLM", "BertForPreTraining"]
) -> tuple[Any, list[str], list[str]]:
    """Loads a stock BERT in fp32; heads and a pooler that the source lacks are new, drawn with `seed`.

    Returns:
        The model, the names of weights that are new, and of those of the source that it has no place for.

    Raises:
        SourceError: It is no stock BERT, has no safetensors, or its encoder is not what its config describes.
    """
    import torch
    from transformers import BertConfig

    from wellread_hf.models.weights import load_whole

    config = read_config(location, option)
    torch.manual_seed(seed)
    model, info = load_whole(kind, location, option, "model", config=BertConfig.from_dict(config))
    return model, sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
