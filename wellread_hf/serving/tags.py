"""What an exported classifier of words says of texts: entities, or a tag a word."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wellread_hf.metrics.per_word import words_of
from wellread_hf.metrics.tags import OUTSIDE, is_tag
from wellread_hf.serving.onnx_model import OnnxModel


def entities(model: OnnxModel, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
    """Finds the entities of texts, one text a call of the model.

    Words end at blanks and punctuation marks; one that is cut off, or that the tokenizer makes nothing of, is
    outside of entities.

    Args:
        model: An export of kind `tagging`.
        texts: The texts.

    Returns:
        Of each text `label`, `text`, `start` and `end` in it, and `score`, the mean probability of the words'
        tags. Of a model whose classes are no tags of entities, every word that it sees.

    Raises:
        DataError: A text cannot be written in UTF-8.
    """
    return [_entities(model, text) for text in texts]


def _entities(model: OnnxModel, text: str) -> list[dict[str, Any]]:
    spans = [span for _word, span in words_of(text)]
    if not spans:
        return []
    encoding = model.encode_words([text[start:end] for start, end in spans])
    chances = model.probabilities(model.run([encoding])[0])
    tags: list[str] = [OUTSIDE] * len(spans)
    scores = np.zeros(len(spans))
    # From the last piece to the first, whose answer stays.
    for piece, word in reversed([*enumerate(encoding.word_ids)]):
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
        for label, first, last in _spans(tags, model.labels)
    ]


def _spans(tags: list[str], names: Sequence[str]) -> list[tuple[str, int, int]]:
    if not all(map(is_tag, names)):
        return [(tag, word, word) for word, tag in enumerate(tags) if tag != OUTSIDE]
    from seqeval.metrics.sequence_labeling import get_entities

    found: list[tuple[str, int, int]] = get_entities(tags)
    return found
