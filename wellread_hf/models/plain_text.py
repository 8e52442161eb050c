"""Tokenizers that read special tokens in a text, such as `[SEP]` or `</s>`, as ordinary characters."""

import copy
import json
from collections.abc import Sequence
from typing import Any

from tokenizers import normalizers
from tokenizers.pre_tokenizers import ByteLevel

# Roles of the special tokens that models depend on. Others were added as words, e.g. entity markers.
_ROLES = ("bos_token", "eos_token", "sep_token", "cls_token", "mask_token", "pad_token", "unk_token")


class PlainText:
    """Calls a tokenizer on texts; special tokens come from its template alone.

    Args:
        tokenizer: Any of transformers'; left as it is.
    """

    def __init__(self, tokenizer: Any) -> None:
        special = {token for role in _ROLES if (token := getattr(tokenizer, role, None)) is not None}
        added = list(tokenizer.added_tokens_decoder.values())
        if tokenizer.is_fast:
            words = {str(token) for token in added if token.special} - special
            self.tokenizer = _with_words(tokenizer, words) if words else tokenizer
            self._splits = True
        else:
            # A slow tokenizer finds all added tokens or none.
            self.tokenizer = tokenizer
            self._splits = {str(token) for token in added} <= special
        self._replaced = self._found_in_vocabulary(special - {tokenizer.pad_token, tokenizer.unk_token})

    def __call__(self, columns: Sequence[Sequence[Any]], **options: Any) -> Any:
        """Tokenises the texts [rows] of one or two columns; or of one column of lists of words."""
        plain: list[Any]
        if words := not isinstance(columns[0][0], str):
            (rows,) = columns
            plain = [[[self._plain(word) for word in row] for row in rows]]
        else:
            plain = [[self._plain(text) for text in column] for column in columns]
        return self.tokenizer(*plain, is_split_into_words=words, split_special_tokens=self._splits, **options)

    @property
    def rules(self) -> dict[str, Any]:
        """What decides the ids of a fast tokenizer, its calls' options apart."""
        rules: dict[str, Any] = json.loads(self.tokenizer.backend_tokenizer.to_str())
        # What the last call asked for.
        del rules["truncation"], rules["padding"]
        return rules | {"respelled": self._replaced}

    def _found_in_vocabulary(self, special: set[str]) -> dict[str, str]:
        """Returns the tokens that are pieces of the vocabulary too, as T5's `</s>`, with a blank in each."""
        found = {}
        # A token of one character has no place for a blank.
        for token in sorted(token for token in special if len(token) > 1):
            ids = self.tokenizer(token, add_special_tokens=False, split_special_tokens=self._splits)[
                "input_ids"
            ]
            if self.tokenizer.convert_tokens_to_ids(token) in ids:
                found[token] = f"{token[0]} {token[1:]}"
        return found

    def _plain(self, text: str) -> str:
        for token, plain in self._replaced.items():
            text = text.replace(token, plain)
        return text


def _with_words(tokenizer: Any, words: set[str]) -> Any:
    """Returns a copy that takes some special tokens for ordinary added ones, which are found in texts."""
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in rules["added_tokens"]:
        token["special"] = token["special"] and token["content"] not in words
    # The tokenizer itself is saved with the model, and stays what it was.
    other = copy.deepcopy(tokenizer)
    other._tokenizer = type(tokenizer.backend_tokenizer).from_str(json.dumps(rules))
    return other


def read_words_after_blanks(tokenizer: Any) -> None:
    """Lets a byte-level tokenizer give a word the pieces that it has inside of a text, after a blank.

    Without it `fox` alone has the pieces of a text that begins with it, which the model has hardly seen. The
    tokenizer is changed, so that it is saved with the model as it was trained. Others are left as they are.
    """
    backend = tokenizer.backend_tokenizer
    steps = json.loads(backend.to_str())["pre_tokenizer"] or {}
    every = [steps, *steps.get("pretokenizers", ())]
    byte_level = [each for each in every if each.get("type") == "ByteLevel"]
    if not byte_level or any(each["add_prefix_space"] for each in byte_level):
        return
    if steps in byte_level:
        backend.pre_tokenizer = ByteLevel(add_prefix_space=True, use_regex=steps["use_regex"])
        tokenizer.add_prefix_space = tokenizer.init_kwargs["add_prefix_space"] = True
    else:
        # Set there, each part of a word would get a blank.
        before = [] if backend.normalizer is None else [backend.normalizer]
        if "Prepend" not in str(before):
            backend.normalizer = normalizers.Sequence([*before, normalizers.Prepend(" ")])
