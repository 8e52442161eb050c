"""A tokenizer whose vocabulary is written down here, and text that tokenizers stumble over."""

import string
from typing import Any

from tiny import SPECIAL
from transformers import BertTokenizer

_ENDS = ("ing", "ed", "er", "ness", "ly", "s")
_STEMS = ("walk", "talk", "light", "water", "stone", "night", "good", "the", "and", "of")
# Between ordinary words: accents in one and in two characters, scripts with and without spaces, signs that
# are removed or are spaces in Unicode alone, what looks like a special token, and a word longer than any.
ODD = (
    *("café", "cafe\u0301", "Ångström", "İstanbul", "straße", "Σίσυφος", "naïve,\u0301", "ﬁne"),
    *("水の夜", "stone水night", "한국어", "привет", "\U00020000", "👍🏽", "good\u200dnight", "soft\u00adly"),
    *(
        "a\u00a0b",
        "a\u2003b",
        "a\u2028b",
        "a\x1cb",
        "a\x85b",
        "a\x0bb",
        "line\r\nline",
        "tab\ttab",
        "\ufffd",
        "\x07",
    ),
    *(
        "[SEP]",
        "[MASK]",
        "[sep]",
        "x[CLS]y",
        "##ing",
        "don't",
        "3.14",
        "a-b--c",
        "...",
        "\u037e",
        "≯",
        ">\u0338",
    ),
    *("w" * 100, "w" * 101, "walk" * 60, "\u0301", ",\u0301", "“quoted”", "", " "),
)


def odd_tokenizer(**options: Any) -> Any:
    letters = string.ascii_lowercase + string.digits + string.punctuation + "水の夜нпа“”"
    words = [*SPECIAL, *letters, *_STEMS, *(f"##{end}" for end in (*_ENDS, *letters))]
    return BertTokenizer(vocab={word: index for index, word in enumerate(dict.fromkeys(words))}, **options)


def odd_texts(count: int) -> list[str]:
    """As many texts, the same ones always: words, numbers and signs, of 0 to 39 words each."""
    texts = []
    for text in range(count):
        words = []
        for place in range(text * 7 % 40):
            pick = (text * 31 + place * 17 + place * place) % 97
            stem, end = _STEMS[pick % len(_STEMS)], _ENDS[pick % len(_ENDS)]
            words.append(ODD[(text + place) % len(ODD)] if pick < 20 else stem + end * (pick % 3))
        texts.append(" ".join(words).capitalize() + ".")
    return texts
