"""How a BERT of 512 positions reads rows, for tests without the model."""

from typing import Any

from wellread_hf.models.encode import RowEncoder
from wellread_hf.models.plain_text import PlainText


def of_bert(tokenizer: Any, max_length: int) -> RowEncoder:
    return RowEncoder(words=PlainText(tokenizer), max_length=max_length, pad_id=tokenizer.pad_token_id)
