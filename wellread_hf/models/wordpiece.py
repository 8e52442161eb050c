"""Training a lower-case WordPiece tokenizer on a corpus (Devlin et al. 2019, section 3; `tokenizers`)."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wellread_hf.errors import DataError


def train_wordpiece(texts: Iterable[tuple[str, ...]], vocabulary: int, folder: Path) -> Mapping[str, Any]:
    """Trains a tokenizer and saves it for `AutoTokenizer.from_pretrained(folder)`.

    Args:
        texts: The corpus, read once.
        vocabulary: Words to learn, the five special tokens included.
        folder: Receives the tokenizer.

    Raises:
        DataError: The corpus is empty.
    """
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizer

    count = 0

    def counted() -> Iterable[str]:
        nonlocal count
        for row in texts:
            count += 1
            yield " ".join(row)

    trained = BertWordPieceTokenizer(lowercase=True)
    trained.train_from_iterator(counted(), vocab_size=vocabulary, show_progress=True)
    if count == 0:
        raise DataError("the corpus is empty: expected text to train a tokenizer on; check `corpus.sources`")
    # The 24 have 512 positions.
    BertTokenizer(vocab=trained.get_vocab(), do_lower_case=True, model_max_length=512).save_pretrained(folder)
    return {"texts": count, "vocabulary": trained.get_vocab_size()}
