"""Tokenizers, encoders and classifiers by name: a folder or a Hub id, safetensors only."""

from typing import TYPE_CHECKING, Any, Literal

import torch

from wellread_hf.errors import LabelError, SettingsError, SourceError, TokenizerError
from wellread_hf.models.bert_names import read_config
from wellread_hf.models.weights import ADAPTER_CONFIG, is_adapter, load_merged, load_whole, loading
from wellread_hf.store.places import fetch
from wellread_hf.store.progress import log
from wellread_hf.store.records import json_object
from wellread_hf.store.stage import Location
from wellread_hf.students import Student

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

BertKind = Literal["BertForMaskedLM", "BertForPreTraining"]


def load_tokenizer(
    location: Location,
    config: "PreTrainedConfig | None" = None,
    trust_remote_code: bool = False,
) -> "PreTrainedTokenizerFast":
    """Loads a tokenizer.

    Args:
        location: Where it lies.
        config: The model's config, where the one that lies there does not say what it is of.
        trust_remote_code: Run the source's own code.

    Raises:
        SourceError: There is none at that place.
    """
    from transformers import AutoTokenizer

    with loading(location, "tokenizer"):
        tokenizer: Any = AutoTokenizer.from_pretrained(
            location.name, revision=location.revision, config=config, trust_remote_code=trust_remote_code
        )
    # transformers makes one up where a BERT's config.json lies alone: five special tokens and no word.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise SourceError(
            f"{location}: cannot be loaded as a tokenizer: expected a vocabulary "
            "(tokenizer.json or vocab.txt), found none; name a tokenizer that has one"
        )
    return tokenizer  # type: ignore[no-any-return]  # transformers allows for slow ones too


def load_masked_lm(
    location: Location,
    seed: int = 0,
    trust_remote_code: bool = False,
    trained: bool = False,
) -> "PreTrainedModel":
    """Loads an encoder with its masked-LM head in fp32; a missing head is new, drawn with `seed`.

    Raises:
        SourceError: There is none, it has no safetensors, its weights are not what its config describes, or
            it needs code of its own; or the source has no head although it should be `trained`.
    """
    # Loading draws the weights that are missing.
    torch.manual_seed(seed)
    model, info = load_whole("AutoModelForMaskedLM", location, "model", trust_remote_code=trust_remote_code)
    if trained and (lacking := sorted(info["missing_keys"])):
        raise SourceError(
            f"{location}: expected a trained masked LM, but it has no weights for "
            f"{', '.join(lacking[:3])}; name one that was pre-trained, and not fine-tuned since "
            "(wellread pretrain)"
        )
    return model  # type: ignore[no-any-return]  # from_pretrained is untyped with loading info


def load_causal_lm(location: Location, bf16: bool = False, trust_remote_code: bool = False) -> Any:
    """Loads a causal language model, quantised where its config says so.

    Args:
        location: Where it lies.
        bf16: Load its weights in bf16, else in fp32.
        trust_remote_code: Run the source's own code.

    Raises:
        SourceError: There is none, it has no safetensors, its weights are not what its config describes, or
            it needs code of its own, or a package that is not there; or later words of a text change what it
            says of earlier ones.
    """
    model, info = load_whole(
        "AutoModelForCausalLM",
        location,
        "causal language model",
        dtype=torch.bfloat16 if bf16 else torch.float32,
        trust_remote_code=trust_remote_code,
    )
    if lacking := sorted(info["missing_keys"]):
        raise SourceError(
            f"{location}: expected a trained causal language model, but it has no weights for "
            f"{', '.join(lacking[:3])}; name one that was trained as such"
        )
    if not _reads_forward(model):
        raise SourceError(
            f"{location}: expected a causal language model, got one that reads a text in both directions "
            f"({type(model).__name__}); name one that was trained to go on with a text"
        )
    return model


@torch.inference_mode()
def _reads_forward(model: Any) -> bool:
    """Returns whether what comes later in a text leaves alone what a model says before."""
    ids = torch.tensor([[1, 2, 3], [1, 2, 4]], device=model.device)
    one, other = model.eval()(input_ids=ids).logits[:, :2].float()
    return torch.allclose(one, other, rtol=1e-3, atol=1e-3)


def load_bert(
    location: Location, seed: int, kind: BertKind, **changes: float
) -> tuple[Any, list[str], list[str]]:
    """Loads a stock BERT in fp32; heads and a pooler that the source lacks are new, drawn with `seed`.

    Args:
        location: Where it lies.
        seed: Seed of new weights.
        kind: Its class.
        **changes: Replace fields of its config.

    Returns:
        The model, the names of weights that are new, and of those of the source that it has no place for.

    Raises:
        SourceError: It is no stock BERT, has no safetensors, or its encoder is not what its config describes.
    """
    from transformers import BertConfig

    config = read_config(location)
    torch.manual_seed(seed)
    model, info = load_whole(kind, location, "model", config=BertConfig.from_dict(config | changes))
    return model, sorted(info["missing_keys"]), sorted(info["unexpected_keys"])


def load_classifier(
    location: Location,
    labels: tuple[str, ...] | None = None,
    seed: int | None = None,
    trust_remote_code: bool = False,
    multi_label: bool = False,
    tagging: bool = False,
) -> "PreTrainedModel":
    """Loads a classifier of sequences, or of tokens, in fp32.

    A LoRA adapter (by peft) is merged into the model it belongs to.

    Args:
        location: Where it lies.
        labels: Class names for a classifier to be trained (empty: regression); its head, where the
            source has none of that size, is new and drawn with `seed`. None takes the source's own
            head as it is.
        seed: Seed of a new head.
        trust_remote_code: Run the source's own model code.
        multi_label: Whether the classes of `labels` are independent of one another.
        tagging: Whether it classifies each word. A trained one (`labels` None) is loaded as what its config
            says it is.

    Raises:
        SourceError: There is none, it has no safetensors, its weights are not what its config describes, or
            it needs code of its own.
        LabelError: `labels` is None and the source has no trained head.
    """
    if labels is None:
        tagging = is_tagger(location)
    head: dict[str, Any] = {} if labels is None else _head(labels, multi_label)
    # A new head is drawn while the model is loaded.
    if seed is not None:
        torch.manual_seed(seed)
    load = load_merged if is_adapter(location) else load_whole
    model, info = load(
        f"AutoModelFor{'Token' if tagging else 'Sequence'}Classification",
        location,
        "classifier",
        new_head=labels is not None,
        trust_remote_code=trust_remote_code,
        **head,
    )
    lacking = sorted(info["missing_keys"])
    if labels is None and lacking:
        raise LabelError(
            f"{location}: expected a trained classifier, but it has no weights for "
            f"{', '.join(lacking[:3])}; fine-tune it first (wellread teacher)"
        )
    if labels is not None and getattr(model, "_hf_peft_config_loaded", False):
        raise SourceError(
            f"{location}: expected a model to start from, got one with an adapter beside it; "
            "merge the two first (peft's merge_and_unload, then save_pretrained)"
        )
    if any(".pooler." in name for name in lacking) and not tagging:
        log(f"{location.name}: it has no pooler; the student's is new, drawn with the seed")
    return model  # type: ignore[no-any-return]  # from_pretrained is untyped with loading info


def is_tagger(location: Location) -> bool:
    """Returns whether the config at a place, of a model or of an adapter, says that it classifies tokens."""
    path = fetch(location, "config.json") or fetch(location, ADAPTER_CONFIG)
    config = {} if path is None else json_object(path)
    named = str(config.get("architectures"))
    return named.endswith("ForTokenClassification']") or config.get("task_type") == "TOKEN_CLS"


def new_classifier(
    student: Student,
    vocabulary: int,
    labels: tuple[str, ...],
    seed: int,
    multi_label: bool = False,
    tagging: bool = False,
) -> "PreTrainedModel":
    """Builds a student with random weights (`Student.fresh_config`) and a classifier.

    Args:
        student: Which of the 24.
        vocabulary: Number of words of its tokenizer.
        labels: Class names; empty: regression.
        seed: Seed of the weights.
        multi_label: Whether the classes are independent of one another.
        tagging: Whether it classifies each word.
    """
    from transformers import BertForSequenceClassification, BertForTokenClassification

    torch.manual_seed(seed)
    kind = BertForTokenClassification if tagging else BertForSequenceClassification
    return kind(student.fresh_config(vocabulary, **_head(labels, multi_label)))


def _head(labels: tuple[str, ...], multi_label: bool) -> dict[str, Any]:
    # Stated in the config, so that nothing has to be inferred from a batch.
    if not labels:
        return {"num_labels": 1, "problem_type": "regression"}
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
        "problem_type": f"{'multi' if multi_label else 'single'}_label_classification",
    }


def check_fit(model: "PreTrainedModel", tokenizer: Any, **lengths: int) -> None:
    """Refuses a tokenizer or a length that the model's embeddings have no rows for.

    Args:
        model: Any.
        tokenizer: The one that cuts its texts.
        **lengths: Tokens a row, by the setting that gives them, e.g. `max_length`.

    Raises:
        TokenizerError: The tokenizer has more words than the model.
        SettingsError: A length is over the model's positions.
    """
    # CANINE reads characters, and has no vocabulary.
    known = getattr(model.config.get_text_config(), "vocab_size", None)
    # Not their number: a vocabulary may have gaps.
    words = max(tokenizer.get_vocab().values()) + 1
    if known is not None and words > known:
        raise TokenizerError(
            f"expected a tokenizer of at most {known} words, the size of the model's "
            f"embedding, got {tokenizer.name_or_path} with {words}; take the tokenizer that "
            "belongs to the model (leave out the setting that names another)"
        )
    positions = positions_of(model)
    for setting, length in lengths.items():
        if positions is not None and length > positions:
            raise SettingsError(
                f"`{setting}` {length} is longer than the model's {positions} positions; give at most "
                f"{positions}"
            )


def positions_of(model: "PreTrainedModel") -> int | None:
    """Returns how many tokens a model can take; None where nothing limits them."""
    config = model.config.get_text_config()
    positions: int | None = getattr(config, "max_position_embeddings", None)
    # DeBERTa's positions are distances between words; XLNet says -1.
    distances = getattr(config, "relative_attention", False) and not getattr(
        config, "position_biased_input", True
    )
    if positions is None or positions < 1 or distances:
        return None
    # RoBERTa and its kin number positions from after the padding's: 514 rows are 512 positions.
    unused = (
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    )
    return positions - next(unused, 0)
