"""Training a WordPiece tokenizer on a corpus (Devlin et al. 2019, section 3; `tokenizers`)."""

import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wellread_hf.errors import DataError
from wellread_hf.settings.run import Case

# Characters of the corpus' start whose marks are counted, and the share that is worth a warning: three times
# that of English Wikipedia with its foreign names (0.0007); plain German sentences have 0.08.
_LOOKED_AT = 1_000_000
_MOST_MARKS = 0.002
# Different characters that get a piece of their own, of the lower-case default: tokenizers' own number.
_CHARACTERS = 1_000


def train_wordpiece(
    texts: Iterable[tuple[str, ...]], vocabulary: int, folder: Path, case: Case = "lower"
) -> Mapping[str, Any]:
    """Trains a tokenizer and saves it for `AutoTokenizer.from_pretrained(folder)`.

    Args:
        texts: The corpus, read once.
        vocabulary: Words to learn, the five special tokens included.
        folder: Receives the tokenizer.
        case: `lower` drops case and accents, `lower-accents` case alone, `cased` nothing.

    Returns:
        `texts` and `vocabulary`; with `lower` a warning where the corpus has many accents or vowel signs.

    Raises:
        DataError: The corpus is empty.
    """
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizer

    count = characters = marks = 0

    def counted() -> Iterable[str]:
        nonlocal count, characters, marks
        for row in texts:
            count += 1
            text = " ".join(row)
            if characters < _LOOKED_AT:
                characters += len(text)
                marks += _marks(text)
            yield text

    lower = case != "cased"
    # None leaves it to BERT, which drops accents with case.
    strip = None if case == "lower" else False
    trained = BertWordPieceTokenizer(lowercase=lower, strip_accents=strip)
    # Scripts of thousands of characters need more pieces of one character, each also within a word.
    alphabet = _CHARACTERS if case == "lower" else max(_CHARACTERS, vocabulary // 4)
    trained.train_from_iterator(counted(), vocab_size=vocabulary, limit_alphabet=alphabet, show_progress=True)
    if count == 0:
        raise DataError("the corpus is empty: expected text to train a tokenizer on; check `corpus.sources`")
    # The 24 have 512 positions.
    BertTokenizer(
        vocab=trained.get_vocab(), do_lower_case=lower, strip_accents=strip, model_max_length=512
    ).save_pretrained(folder)
    share = marks / max(characters, 1)
    warnings = []
    if case == "lower" and share > _MOST_MARKS:
        warnings.append(
            f"{100 * share:.1f} % of the corpus' characters have accents or are vowel signs, which this "
            "tokenizer drops; where words differ in these alone give `case` lower-accents or cased"
        )
    outcome = {"texts": count, "vocabulary": trained.get_vocab_size()}
    return outcome | ({"warnings": warnings} if warnings else {})


def _marks(text: str) -> int:
    """Counts what BERT's lower-case normalizer drops of a text: marks that do not stand by themselves."""
    if text.isascii():
        return 0
    return sum(unicodedata.category(letter) == "Mn" for letter in unicodedata.normalize("NFD", text))
