"""Weights from files: loaded whole or not at all, and every error in one sentence."""

import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from wellread_hf.errors import SourceError, WellreadError, cause, library_errors_as
from wellread_hf.store.places import fetch
from wellread_hf.store.stage import Location

_WEIGHTS = "model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER_WEIGHTS = "adapter_model.safetensors"


@contextmanager
def loading(location: Location, what: str) -> Iterator[None]:
    """Turns any error of loading in the block into one sentence.

    Args:
        location: From where.
        what: What is loaded, e.g. `model`.

    Raises:
        SourceError: It cannot be loaded.
    """
    subject = f"{location}: cannot be loaded as a {what} (safetensors only)"
    with library_errors_as(SourceError, subject):
        try:
            yield
        except WellreadError:
            raise
        except Exception as error:
            said = cause(error)
            if "trust_remote_code" in said:
                raise SourceError(
                    f"{location}: expected a {what} of an architecture that transformers has, "
                    "got one with code of its own, which is not run unless asked for; read that code, and if "
                    "you trust it give `trust_remote_code`"
                ) from error
            if re.search(r"(no|a) file named model\.safetensors", said):
                raise SourceError(
                    f"{subject}: it has no model.safetensors; name a revision that has one (the Hub's "
                    "converter leaves it at NAME@refs/pr/N), or let wellread adopt, with pickle, make one of "
                    "a pre-trained BERT's pytorch_model.bin"
                ) from error
            if isinstance(error, NotImplementedError):
                # transformers compares tied weights although one got no values.
                raise SourceError(
                    f"{subject}: its weights do not have the shapes that its config.json describes; take "
                    "both from one place"
                ) from error
            raise


def load_whole(
    kind: str,
    location: Location,
    what: str,
    new_head: bool = False,
    dtype: torch.dtype = torch.float32,
    **more: Any,
) -> tuple[Any, dict[str, Any]]:
    """Loads a model; all its weights but those of heads and a pooler must be there and fit.

    Args:
        kind: A class of transformers.
        location: Where it lies.
        what: What is loaded, e.g. `classifier`.
        new_head: A head of another size is replaced by a new one.
        dtype: Of its weights.
        **more: For `from_pretrained`.

    Returns:
        The model, and what transformers says of loading it: `missing_keys` are new, `unexpected_keys` unused.

    Raises:
        SourceError: It cannot be loaded, or not whole.
    """
    import transformers

    with loading(location, what):
        model, info = getattr(transformers, kind).from_pretrained(
            location.name,
            revision=location.revision,
            use_safetensors=True,
            # By default weights come in the type they were saved in, fp16 as well.
            dtype=dtype,
            output_loading_info=True,
            # Looked at below, where names and shapes are known.
            ignore_mismatched_sizes=True,
            **more,
        )
        check_weights(model, info, new_head)
        # Integers that a quantiser reads are right.
        if getattr(model, "hf_quantizer", None) is None:
            _check_types(stored_weights(location))
    return model, info


def stored_weights(location: Location) -> list[Path]:
    """Returns the files that hold a model's weights."""
    if (whole := fetch(location, _WEIGHTS)) is not None:
        return [whole]
    index = fetch(location, f"{_WEIGHTS}.index.json")
    shards = set() if index is None else set(json.loads(index.read_text())["weight_map"].values())
    return [path for shard in sorted(shards) if (path := fetch(location, shard)) is not None]


def _check_types(files: Sequence[Path]) -> None:
    """Refuses weights that are stored as integers: transformers takes these for the weights themselves.

    Raises:
        ValueError: There are some.
    """
    for file in files:
        with safe_open(file, "pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                kind = weights.get_slice(name).get_dtype()
                if name.endswith((".weight", ".bias")) and kind.startswith(("I", "U", "BOOL")):
                    raise ValueError(
                        f"expected weights that are floating-point numbers, got {name} of type {kind} and no "
                        "quantization_config in its config.json that says what they stand for; take the "
                        "model before it was quantised"
                    )


def check_weights(model: Any, info: Any, new_head: bool = False) -> None:
    """Refuses weights that are not what the config describes.

    Args:
        model: The model.
        info: What transformers says of loading it.
        new_head: A head of another size is not looked at.

    Raises:
        ValueError: Weights of the encoder are missing or of another shape, or the file has more layers, or
            weights are not finite.
    """
    expected = list(model.state_dict())
    prefix = model.base_model_prefix
    named = prefix and hasattr(model, prefix)

    def in_encoder(name: str) -> bool:
        # Custom code may name no encoder.
        return name.startswith(f"{prefix}.") if named else bool(re.search(r"\.\d+\.|embed", name))

    shapes = {
        name: (tuple(found), tuple(described))
        for name, found, described in info["mismatched_keys"]
        if in_encoder(name) or not new_head
    }
    missing = sorted(name for name in info["missing_keys"] if in_encoder(name) and ".pooler." not in name)
    more = sorted(name for name in info["unexpected_keys"] if _of_another_layer(name, prefix, expected))
    if shapes:
        first = min(shapes)
        raise ValueError(
            f"its weights do not have the shapes that its config.json describes: {first} is "
            f"{list(shapes[first][0])}, expected {list(shapes[first][1])}{_others(len(shapes))}; take both "
            "from one place"
        )
    for names, said in ((missing, "lack"), (more, "also have")):
        if names:
            raise ValueError(
                f"its weights are not those that its config.json describes: they {said} {names[0]}"
                f"{_others(len(names))}; take both from one place"
            )
    _check_finite(model)


def _check_finite(model: Any) -> None:
    damaged = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
    if damaged:
        raise ValueError(
            f"expected finite weights, got NaN or infinite ones in {damaged[0]}{_others(len(damaged))}; "
            "take a checkpoint of before its training failed"
        )


def _others(count: int) -> str:
    return f" (and {count - 1} others)" if count > 1 else ""


def _of_another_layer(name: str, prefix: str, expected: list[str]) -> bool:
    """Returns whether a weight is of a numbered layer that the model lacks, although it has others."""
    found = re.match(r"(.*?\.)\d+\.", name)
    if found is None:
        return False
    # A file may leave out the encoder's name.
    whole = "" if name.startswith(f"{prefix}.") else f"{prefix}."
    stack, layer = (
        any(weight.startswith((start, whole + start)) for weight in expected)
        for start in (found[1], found[0])
    )
    return stack and not layer


def is_adapter(location: Location) -> bool:
    """Returns whether there is an adapter alone; transformers loads one that lies beside a whole model."""
    adapter, model = (fetch(location, file) for file in (ADAPTER_CONFIG, "config.json"))
    return adapter is not None and model is None


def load_merged(kind: str, location: Location, what: str, **more: Any) -> tuple[Any, dict[str, Any]]:
    """Loads what an adapter belongs to, as `load_whole` does, and adds the adapter to its weights."""
    folder = None if (path := fetch(location, _ADAPTER_WEIGHTS)) is None else path.parent
    if folder is None:
        raise SourceError(
            f"{location}: expected the weights of an adapter in {_ADAPTER_WEIGHTS}, found "
            "none; save it again with save_pretrained"
        )
    with loading(location, "PEFT adapter"):
        from peft import PeftConfig, PeftModel

        config = PeftConfig.from_pretrained(str(folder))
    base = replace(
        location, name=str(config.base_model_name_or_path), revision=config.revision, fingerprint=""
    )
    model, info = load_whole(kind, base, f"{what} for the adapter {location.name}", **more)
    with loading(location, "PEFT adapter"), warnings.catch_warnings():
        # peft goes on with random weights.
        warnings.filterwarnings("error", "Found missing adapter keys")
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        # In fp64, as our own LoRA is merged: in fp32 the order of sums shows.
        merged = PeftModel.from_pretrained(model, str(folder)).double().merge_and_unload().float()
        _check_finite(merged)
        # peft freezes what an adapter belongs to.
        merged.requires_grad_(True)
    with safe_open(folder / _ADAPTER_WEIGHTS, "pt") as weights:
        whole = {name.removeprefix("base_model.model.") for name in weights.keys()}  # noqa: SIM118
    return merged, info | {"missing_keys": set(info["missing_keys"]) - whole}
