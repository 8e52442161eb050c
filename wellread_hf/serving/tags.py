"""What an exported classifier of words says of texts: entities, or a tag a word."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wellread_hf.errors import DataError
from wellread_hf.metrics.per_word import words_of
from wellread_hf.metrics.tags import OUTSIDE, is_tag
from wellread_hf.serving.onnx_model import Array, OnnxModel, Text


def answer(model: OnnxModel, texts: Sequence[Text]) -> list[list[dict[str, Any]]]:
    """Answers texts in one batch: entities of a classifier of words, else labels; for measuring."""
    return (
        entities(model, [*map(str, texts)], len(texts)) if model.kind == "tagging" else model.predict(texts)
    )


def entities(model: OnnxModel, texts: Sequence[str], batch_size: int = 1) -> list[list[dict[str, Any]]]:
    """Finds the entities of texts.

    Words end at blanks and punctuation marks; one that is cut off, or that the tokenizer makes nothing of, is
    outside of entities.

    Args:
        model: An export of kind `tagging`.
        texts: The texts.
        batch_size: Texts a call of the model; in int8 more than one may move an answer (`OnnxModel`).

    Returns:
        Of each text `label`, `text`, `start` and `end` in it, and `score`, the mean probability of the words'
        tags. Of a model whose classes are no tags of entities, every word that it sees.

    Raises:
        DataError: A text cannot be written in UTF-8.
    """
    found: list[list[dict[str, Any]]] = []
    for start in range(0, len(texts), batch_size):
        read = [words_read(model, text) for text in texts[start : start + batch_size]]
        # A text without words needs no call, and some tokenizers make nothing of it.
        asked = [each.encoding for each in read if each.spans]
        logits = iter(model.run(asked, batch_size) if asked else ())
        found += [found_in(model, each, next(logits)) if each.spans else [] for each in read]
    return found


@dataclass(frozen=True, slots=True)
class Read:
    """A text, where its words are in it, and its `Encoding`, which says of each piece its word."""

    text: str
    spans: list[tuple[int, int]]
    encoding: Any


def words_read(model: OnnxModel, text: str) -> Read:
    """Cuts a text into words and encodes them.

    Raises:
        DataError: The text cannot be written in UTF-8.
    """
    try:
        spans = [span for _word, span in words_of(text)]
    except UnicodeEncodeError:
        raise DataError(f"expected a text in UTF-8, got {text!a:.60}; convert it") from None
    return Read(text, spans, model.encode_words([text[start:end] for start, end in spans]))


def found_in(model: OnnxModel, read: Read, logits: Array) -> list[dict[str, Any]]:
    """Returns what the logits [tokens, classes] of a text say of it; see `entities`.

    Args:
        model: An export of kind `tagging`.
        read: The text.
        logits: Of its tokens; more at the end, of padding, are not read.
    """
    text, spans, chances = read.text, read.spans, model.probabilities(logits)
    tags: list[str] = [OUTSIDE] * len(spans)
    scores = np.zeros(len(spans))
    # From the last piece to the first, whose answer stays.
    for piece, word in reversed([*enumerate(read.encoding.word_ids)]):
        if word is not None:
            tags[word], scores[word] = model.labels[chances[piece].argmax()], chances[piece].max()
    return [
        {
            "label": label,
            "text": text[spans[first][0] : spans[last][1]],
            "start": spans[first][0],
            "end": spans[last][1],
            "score": float(scores[first : last + 1].mean()),
        }
        for label, first, last in spans_of(tags, model.labels)
    ]


def spans_of(tags: Sequence[str], names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Returns type, first and last word of each entity, by conlleval's rule for all schemes.

    `seqeval` has the same rule, but takes a second to import.

    Args:
        tags: Of the words of a text.
        names: All classes; where they are no tags of entities, each word is one.
    """
    if not all(map(is_tag, names)):
        return [(tag, word, word) for word, tag in enumerate(tags) if tag != OUTSIDE]
    found: list[tuple[str, int, int]] = []
    before = OUTSIDE
    for word, tag in enumerate(tags):
        if before[0] in "BI" and tag[0] in "IE" and before[2:] == tag[2:]:
            label, first, _last = found.pop()
            found.append((label, first, word))
        elif tag != OUTSIDE:
            found.append((tag[2:], word, word))
        before = tag
    return found
