"""How a language model reads prompts: with its chat template or without, and which tokens the words are.

A word is joined to its prompt so: spaces at the prompt's end are dropped, and one stands before the word.
There is none after a prompt that ends in a new line, nor in a chat whose template puts none before an answer.
Prompt and word are tokenised as one text; the word's tokens are those that come after the prompt's.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.errors import LabelError, SettingsError, SourceError, TokenizerError, library_errors_as
from wellread_hf.labelling.prompts import Prompts
from wellread_hf.models.continuations import Ids
from wellread_hf.settings.prompt import Chat


class PromptReader:
    """Reads prompts with one model's tokenizer.

    Args:
        tokenizer: A fast one.
        prompts: Makes the prompt of a row.
        chat: Whether to ask through the chat template.
        max_length: Tokens of each text of a row; longer ones are cut.
        samples: Rows by which the words' tokens are found; all must agree on them.

    Attributes:
        words: The tokens of each label word.
        cut: Texts that were longer, of all that were read so far.
        notes: What is odd about the words, a sentence each.

    Raises:
        SettingsError: The chat template is asked for, and there is none.
        SourceError: The chat template fails, or changes what is answered.
        TokenizerError: The tokenizer is a slow one.
        LabelError: A word has no token, or that of another, or one with the end of its prompt.
        DataError: As from `Prompts`.
    """

    def __init__(
        self,
        tokenizer: Any,
        prompts: Prompts,
        chat: Chat,
        max_length: int,
        samples: Sequence[tuple[str, ...]],
    ) -> None:
        if not tokenizer.is_fast:
            raise TokenizerError(
                f"{tokenizer.name_or_path}: expected a fast tokenizer (tokenizer.json), which knows what of "
                "a text a token is, got a slow one; save it again as a fast one"
            )
        self.tokenizer, self.prompts, self.max_length = tokenizer, prompts, max_length
        self.chat = _has_chat(tokenizer, chat)
        self.cut = 0
        # A text may hold what the model takes for the end of a turn.
        added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        special = {token for token in {*tokenizer.all_special_tokens, *added} if len(token) > 1}
        self._special = re.compile("|".join(map(re.escape, sorted(special, reverse=True))) or r"(?!)")
        # A chat template puts its own.
        self._lead = [] if self.chat else _leading(tokenizer)
        self.words = self._word_tokens(samples[0])
        for sample in samples[1:]:
            if self._word_tokens(sample) != self.words:
                raise LabelError(
                    f"{prompts.name}: expected label words of the same tokens after every prompt, and its "
                    "end changes them; end the template in words of its own, e.g. `Answer:`"
                )
        self.notes = _check_words(prompts.words, self.words)

    def read(self, texts: Sequence[tuple[str, ...]]) -> list[Ids]:
        """Returns the tokens of each row's prompt, up to the place of the word."""
        prompts = [self._before_word(row)[0] for row in self._shortened(texts)]
        return [np.array(self._lead + ids, dtype=np.int32) for ids in self._ids(prompts)]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        # A prompt that is longer than the model takes is refused by its row.
        found: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        return found

    def _before_word(self, texts: tuple[str, ...]) -> tuple[str, str]:
        """Returns a row's prompt as the model reads it, and what joins a word to it."""
        prompt = self.prompts([self._plain(text) for text in texts])
        if not self.chat:
            text = prompt.rstrip(" ")
            return text, "" if not text or text[-1].isspace() else " "
        word = self.prompts.words[0]
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": word}]
        with library_errors_as(SourceError, "the tokenizer's chat template fails", "try `prompt.chat` no"):
            # The place where the template puts an answer. What generation starts from may lie before it.
            chat = self.tokenizer.apply_chat_template(turns, tokenize=False, continue_final_message=True)
        if not chat.endswith(word):
            raise SourceError(
                f"the tokenizer's chat template: expected an answer that ends in the label word {word!r}, "
                f"got {chat[-40:]!r}; take another word, or `prompt.chat` no"
            )
        text = chat.removesuffix(word)
        return text.rstrip(" "), " " if text.endswith(" ") else ""

    def _word_tokens(self, texts: tuple[str, ...]) -> list[list[int]]:
        (row,) = self._shortened([texts])
        prompt, join = self._before_word(row)
        alone, joined = self._ids([prompt, prompt + join])
        found = []
        for word in self.prompts.words:
            (whole,) = self._ids([prompt + join + word])
            if whole[: len(alone)] != alone:
                raise LabelError(
                    f"{self.prompts.name}: expected a prompt whose last token ends before the label word, "
                    f"and {self.tokenizer.name_or_path} makes one token of both, {prompt[-20:]!r} and "
                    f"{word!r}; end the template in a colon or a new line"
                )
            # Of a word that the tokenizer drops the blank before it may be left.
            found.append([] if whole == joined else whole[len(alone) :])
        return found

    def _plain(self, text: str) -> str:
        return self._special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    def _shortened(self, texts: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Cuts texts after as many tokens as one may have."""
        # A token takes a byte or more, but for one that only marks a beginning.
        return [
            tuple(
                text if len(text.encode(errors="replace")) < self.max_length else self._cut(text)
                for text in row
            )
            for row in texts
        ]

    def _cut(self, text: str) -> str:
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        spans: list[tuple[int, int]] = found["offset_mapping"]
        if len(spans) <= self.max_length:
            return text
        self.cut += 1
        return text[: spans[self.max_length - 1][1]]


def _has_chat(tokenizer: Any, chat: Chat) -> bool:
    there = getattr(tokenizer, "chat_template", None) is not None
    if chat == "yes" and not there:
        raise SettingsError(
            f"`prompt.chat` yes: expected a tokenizer with a chat template, {tokenizer.name_or_path} has "
            "none; take an instructed model, or `prompt.chat` auto"
        )
    return there and chat != "no"


def _leading(tokenizer: Any) -> list[int]:
    """Returns the special tokens that a tokenizer puts before a text."""
    found = tokenizer("a", return_special_tokens_mask=True)
    special: list[int] = found["special_tokens_mask"]
    count = special.index(0) if 0 in special else len(special)
    ids: list[int] = found["input_ids"][:count]
    return ids


def _check_words(words: Sequence[str], tokens: Sequence[Sequence[int]]) -> list[str]:
    """Refuses words without tokens of their own; returns what is odd about the others."""
    notes = []
    for word, own in zip(words, tokens, strict=True):
        if not own:
            raise LabelError(
                f"`prompt.label_words`: expected words that the teacher's tokenizer knows, and of {word!r} "
                "it makes no token; take another word"
            )
        for other, others in zip(words, tokens, strict=True):
            if word == other or list(others[: len(own)]) != list(own):
                continue
            if len(own) == len(others):
                raise LabelError(
                    f"`prompt.label_words`: expected words that are different tokens to the teacher's "
                    f"tokenizer, and {word!r} and {other!r} are the same; take other words"
                )
            notes.append(
                f"the label word {word!r} is the beginning of {other!r}: its probability includes that of "
                f"{other!r}; take words of which none begins another"
            )
    return notes


def shared_prefix(rows: Sequence[npt.NDArray[Any]]) -> int:
    """Returns with how many tokens all rows begin alike, one fewer than the shortest has at most."""
    first = rows[0]
    shared = min(map(len, rows)) - 1
    for row in rows:
        differ = np.flatnonzero(row[:shared] != first[:shared])
        shared = int(differ[0]) if len(differ) else shared
    return shared
