"""Tokenizers, encoders and classifiers by name: a folder or a Hub id, safetensors only."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from wellread_hf.errors import LabelError, SettingsError, SourceError, TokenizerError
from wellread_hf.locations import Location
from wellread_hf.students import Student

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast


def load_tokenizer(
    location: Location, option: str, config: "PreTrainedConfig | None" = None
) -> "PreTrainedTokenizerFast":
    """Loads a tokenizer.

    Args:
        location: Where it lies.
        option: The command-line option that named it.
        config: The model's config, where the one that lies there does not say what it is of.

    Raises:
        SourceError: There is none at that place.
    """
    from transformers import AutoTokenizer

    def load() -> Any:
        return AutoTokenizer.from_pretrained(location.name, revision=location.revision, config=config)

    tokenizer: PreTrainedTokenizerFast = loading_told(load, location, option, "tokenizer")
    # transformers makes one up where a BERT's config.json lies alone: five special tokens and no word.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise SourceError(
            f"{option} {location.name}: cannot be loaded as a tokenizer: expected a vocabulary "
            "(tokenizer.json or vocab.txt), found none; name a tokenizer that has one"
        )
    return tokenizer


def load_masked_lm(
    location: Location,
    option: str,
    seed: int = 0,
    trust_remote_code: bool = False,
    trained: bool = False,
) -> "PreTrainedModel":
    """Loads an encoder with its masked-LM head in fp32; a missing head is new, drawn with `seed`.

    Raises:
        SourceError: There is none, it has no safetensors, or it needs code of its own; or the source has no
            head although it should be `trained`.
    """
    from transformers import AutoModelForMaskedLM

    torch.manual_seed(seed)

    def load() -> Any:
        return AutoModelForMaskedLM.from_pretrained(
            location.name,
            revision=location.revision,
            use_safetensors=True,
            dtype=torch.float32,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )

    model, info = loading_told(load, location, option, "model")
    if trained and info["missing_keys"]:
        raise SourceError(
            f"{option} {location.name}: expected a trained masked LM, but it has no weights for "
            f"{', '.join(sorted(info['missing_keys'])[:3])}; name one that was pre-trained, and not "
            "fine-tuned since (recipes/pretrain.py)"
        )
    return model  # type: ignore[no-any-return]  # from_pretrained is untyped with loading info


def load_classifier(
    location: Location,
    option: str,
    labels: tuple[str, ...] | None = None,
    seed: int | None = None,
    trust_remote_code: bool = False,
    multi_label: bool = False,
) -> "PreTrainedModel":
    """Loads a sequence classifier in fp32.

    Args:
        location: Where it lies.
        option: The command-line option that named it.
        labels: Class names for a classifier to be trained (empty: regression); its head, where the
            source has none of that size, is new and drawn with `seed`. None takes the source's own
            head as it is.
        seed: Seed of a new head.
        trust_remote_code: Run the source's own model code.
        multi_label: Whether the classes of `labels` are independent of one another.

    Raises:
        SourceError: There is none, it has no safetensors, or it needs code of its own.
        LabelError: `labels` is None and the source has no trained head.
    """
    from transformers import AutoModelForSequenceClassification

    head: dict[str, Any] = (
        {} if labels is None else _head(labels, multi_label) | {"ignore_mismatched_sizes": True}
    )
    if seed is not None:
        torch.manual_seed(seed)

    def load() -> Any:
        return AutoModelForSequenceClassification.from_pretrained(
            location.name,
            revision=location.revision,
            use_safetensors=True,
            dtype=torch.float32,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
            **head,
        )

    model, info = loading_told(load, location, option, "classifier")
    if labels is None and info["missing_keys"]:
        raise LabelError(
            f"{option} {location.name}: expected a trained classifier, but it has no weights for "
            f"{', '.join(sorted(info['missing_keys'])[:3])}; fine-tune it first (recipes/teacher.py)"
        )
    return model  # type: ignore[no-any-return]  # from_pretrained is untyped with loading info


def new_classifier(
    student: Student, vocabulary: int, labels: tuple[str, ...], seed: int, multi_label: bool = False
) -> "PreTrainedModel":
    """Builds a student with random weights (`Student.fresh_config`) and a classifier.

    Args:
        student: Which of the 24.
        vocabulary: Number of words of its tokenizer.
        labels: Class names; empty: regression.
        seed: Seed of the weights.
        multi_label: Whether the classes are independent of one another.
    """
    from transformers import BertForSequenceClassification

    torch.manual_seed(seed)
    return BertForSequenceClassification(student.fresh_config(vocabulary, **_head(labels, multi_label)))


def _head(labels: tuple[str, ...], multi_label: bool) -> dict[str, Any]:
    if not labels:
        return {"num_labels": 1, "problem_type": "regression"}
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
        "problem_type": f"{'multi' if multi_label else 'single'}_label_classification",
    }


def check_fit(model: "PreTrainedModel", tokenizer: Any, length: int, option: str) -> None:
    """Refuses a tokenizer or a length that the model's embeddings have no rows for.

    Raises:
        TokenizerError: The tokenizer has more words than the model.
        SettingsError: `length` is over the model's positions.
    """
    # Not their number: a vocabulary may have gaps.
    words = max(tokenizer.get_vocab().values()) + 1
    if words > model.config.vocab_size:
        raise TokenizerError(
            f"expected a tokenizer of at most {model.config.vocab_size} words, the size of the model's "
            f"embedding, got {tokenizer.name_or_path} with {words}; take the tokenizer that "
            "belongs to the model (leave out the option that names another)"
        )
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None:
        # RoBERTa and its kin number positions from after the padding's: 514 rows are 512 positions.
        unused = (
            module.padding_idx + 1
            for name, module in model.named_modules()
            if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
        )
        positions -= next(unused, 0)
    if positions is not None and length > positions:
        raise SettingsError(
            f"{option} {length} is longer than the model's {positions} positions; give at most {positions}"
        )


def loading_told(load: Callable[[], Any], location: Location, option: str, what: str) -> Any:
    """Calls `load`; what transformers raises about a bad source becomes one sentence.

    Args:
        load: Loads with transformers.
        location: From where.
        option: The command-line option that named it.
        what: What is loaded, e.g. `model`.

    Raises:
        SourceError: It cannot be loaded.
    """
    try:
        return load()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        # transformers answers with OSError for missing files, networks and weights that are not
        # safetensors, with ValueError for code it may not run and unknown architectures, with KeyError
        # for a JSON file that lacks what it always has, and with RuntimeError for weights of other shapes.
        told = " ".join(str(error).split())
        if "trust_remote_code" in told:
            raise SourceError(
                f"{option} {location.name}: expected a {what} of an architecture that transformers has, got "
                "one with code of its own, which is not run unless asked for; read that code, and if you "
                "trust it give the option that ends in trust-remote-code (see --help)"
            ) from error
        if re.search(r"(no|a) file named model\.safetensors", told):
            told = (
                "it has no model.safetensors; name a revision that has one (the Hub's converter leaves it at "
                "NAME@refs/pr/N), or let recipes/adopt.py --pickle make one of a pre-trained BERT's "
                "pytorch_model.bin"
            )
        elif isinstance(error, NotImplementedError) or "ignore_mismatched_sizes" in told:
            # The first is raised by transformers, which compares tied weights although one got no values.
            told = (
                "its weights do not have the shapes that its config.json describes; take both from one place"
            )
        raise SourceError(
            f"{option} {location.name}: cannot be loaded as a {what} (safetensors only): {told}"
        ) from error
