"""Checkpoints of others as they were released: read whole or not at all, and compared with what was saved.

Google's 24 (Turc et al. 2019) have a bare `config.json`, a `vocab.txt`, and the weights of a
`BertForPreTraining`, some of them as a pickle alone.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from wellread_hf.errors import SourceError, library_errors_as
from wellread_hf.models.bert_names import NEXT_SENTENCE, NEXT_SENTENCE_PARTS, read_config
from wellread_hf.store.places import fetch
from wellread_hf.store.stage import Location

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

SAFETENSORS = "model.safetensors"
PICKLE = "pytorch_model.bin"

SENTENCES = (
    "The old [MASK] barked at the postman all morning.",
    "She put the kettle on and made a cup of [MASK].",
    "After three days of [MASK] the river rose over its banks.",
    "The museum is closed on [MASK], but the garden stays open.",
    "He could not [MASK] where he had left his keys.",
    "Most of the village [MASK] in the fields until the harvest was over.",
    "The train to the coast [MASK] at half past seven.",
    "Nobody in the [MASK] knew the answer to her question.",
    "A good knife should be sharp, [MASK] and easy to clean.",
    "They painted the door [MASK] and the windows white.",
    "My sister plays the [MASK] in a small orchestra.",
    "The [MASK] of the two brothers became a doctor.",
    "Water boils at one hundred [MASK] at the level of the sea.",
    "It was so [MASK] that the pipes froze and burst.",
    "The committee will [MASK] on the new budget next week.",
    "Long before sunrise the [MASK] had lit the ovens and kneaded the dough.",
    "We walked along the [MASK] and watched the boats come in.",
    "The film was far too long, and the ending was [MASK].",
    "If you plant the [MASK] in March, they will flower in June.",
    "Her first novel sold badly, but the second made her [MASK].",
)


def load_released(location: Location, pickle: bool) -> tuple["PreTrainedModel", list[str]]:
    """Loads a BERT in fp32 with the heads that it was released with, every weight from the source.

    Args:
        location: Where it lies.
        pickle: Read a `pytorch_model.bin` where there are no safetensors.

    Returns:
        A `BertForPreTraining`, or a `BertForMaskedLM` where the source has no pooler or no next-sentence
        head; and the names of weights that this has no place for.

    Raises:
        SourceError: It is no BERT, has no weights that may be read, or lacks some that its config
            describes, those of the masked-LM head included, or has others.
    """
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertForPreTraining

    from wellread_hf.models.weights import check_weights, loading

    config = read_config(location)
    weights = _weights(location, pickle)
    kind: Any = BertForPreTraining if weights.keys() >= set(NEXT_SENTENCE) else BertForMaskedLM
    with loading(location, "model"):
        model, info = kind.from_pretrained(
            None,
            config=BertConfig.from_dict(config),
            state_dict=weights,
            dtype=torch.float32,
            output_loading_info=True,
            # Other shapes are refused below, in one sentence.
            ignore_mismatched_sizes=True,
        )
        for names, said in (
            (info["missing_keys"], "no weights for"),
            ({name for name in info["unexpected_keys"] if not name.startswith(NEXT_SENTENCE_PARTS)}, "also"),
        ):
            if names:
                raise SourceError(
                    f"{location}: expected the weights of a BERT of "
                    f"{config['num_hidden_layers']} layers with its masked-LM head, got {said} "
                    f"{', '.join(sorted(names)[:3])}"
                    f"{', ...' if len(names) > 3 else ''}; take the checkpoint as it came out of pre-training"
                )
        check_weights(model, info)
    return model, sorted(info["unexpected_keys"])


def _weights(location: Location, pickle: bool) -> dict[str, "Tensor"]:
    import torch
    from safetensors.torch import load_file

    path = fetch(location, SAFETENSORS)
    if path is not None:
        with library_errors_as(SourceError, f"{location}: {SAFETENSORS} cannot be read", "fetch it again"):
            return load_file(path)
    if not pickle:
        raise SourceError(
            f"{location}: expected weights in {SAFETENSORS}, found none; name a revision that "
            f"has them (the Hub's converter leaves them at NAME@refs/pr/N), or give `pickle` to read {PICKLE}"
        )
    # transformers would read it as well, but also starts a conversion by a service on the network.
    path = fetch(location, PICKLE)
    if path is None:
        raise SourceError(
            f"{location}: expected weights in {SAFETENSORS} or {PICKLE}, found neither; check the name"
        )
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged pickle raises anything; one that would run code is refused by torch.
        raise SourceError(
            f"{location}: expected {PICKLE} to hold tensors alone, and it cannot be read "
            f"so ({' '.join(str(error).split())[:200]}); fetch it again, or name a revision with "
            f"{SAFETENSORS}"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise SourceError(
            f"{location}: expected {PICKLE} to hold tensors by name, got something else; use a "
            f"revision with {SAFETENSORS}"
        )
    return found


def sentence_logits(model: Any, tokenizer: Any) -> list["Tensor"]:
    """Returns a model's logits for `SENTENCES`: [masks, V] at the masks, [sentences, 2] of pairs."""
    import torch

    texts = [sentence.replace("[MASK]", tokenizer.mask_token) for sentence in SENTENCES]
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    model.eval()
    with torch.inference_mode():
        words, *others = model(**batch).to_tuple()
    return [words[batch["input_ids"] == tokenizer.mask_token_id], *others]


def parity(model: "PreTrainedModel", tokenizer: Any, folder: Path) -> float:
    """Loads a saved folder as anyone would, and compares it with the model that was saved there.

    Returns:
        The largest absolute difference of `sentence_logits`; infinite if they have other shapes.
    """
    from transformers import AutoTokenizer

    saved = type(model).from_pretrained(folder)
    here = sentence_logits(model, tokenizer)
    there = sentence_logits(saved, AutoTokenizer.from_pretrained(folder))
    if [logits.shape for logits in here] != [logits.shape for logits in there]:
        return float("inf")
    return max(float((one - other).abs().max()) for one, other in zip(here, there, strict=True))
