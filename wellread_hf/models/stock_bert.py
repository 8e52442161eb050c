"""Stock BERTs with the heads that a stage needs, of which those that the source lacks are new."""

from typing import Any, Literal

from wellread_hf.errors import SourceError
from wellread_hf.locations import Location
from wellread_hf.models.adoption import read_config

# What a fine-tuned model, or one of another pre-training, may lack.
_HEADS = ("cls.", "bert.pooler.")


def load_bert(
    location: Location, option: str, seed: int, kind: Literal["BertForMaskedLM", "BertForPreTraining"]
) -> tuple[Any, list[str], list[str]]:
    """Loads a stock BERT in fp32; heads and a pooler that the source lacks are new, drawn with `seed`.

    Returns:
        The model, the names of weights that are new, and of those of the source that it has no place for.

    Raises:
        SourceError: It is no stock BERT, has no safetensors, or lacks weights of its encoder.
    """
    import torch
    import transformers

    from wellread_hf.models.loading import loading_told

    config = read_config(location, option)
    torch.manual_seed(seed)

    def load() -> Any:
        return getattr(transformers, kind).from_pretrained(
            location.name,
            revision=location.revision,
            config=transformers.BertConfig.from_dict(config),
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )

    model, info = loading_told(load, location, option, "model")
    lacking = sorted(name for name in info["missing_keys"] if not name.startswith(_HEADS))
    if lacking:
        raise SourceError(
            f"{option} {location.name}: expected the weights of a BERT of {config['num_hidden_layers']} "
            f"layers, got none for {', '.join(lacking[:3])}; take the folder that its training saved"
        )
    return model, sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
