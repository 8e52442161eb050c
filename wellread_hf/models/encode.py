"""Texts as ids, as a model needs them, kept flat: one array for all rows, cut by offsets."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wellread_hf.errors import DataError, TokenizerError
from wellread_hf.models.load import check_fit, positions_of
from wellread_hf.models.plain_text import PlainText, read_words_after_blanks
from wellread_hf.models.words import FirstPieces, first_pieces, no_value, tags_words
from wellread_hf.store.progress import bar, log

# Rows tokenised in one call.
_BATCH = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class RowEncoder:
    """How one model reads rows of texts: words are its tokenizer's, all else is the model's.

    Attributes:
        words: The tokenizer.
        max_length: Tokens a row.
        pad_id: Id that fills short rows.
        segments_from: Texts a row from which on the model is given segments; 0: it knows none.
        pad_left: Padding comes before the row, for a model that reads the last position.
        positions: Tokens that the model can take; None where nothing limits them.
        tags: The texts of a row are its words, which the model classifies each.
    """

    words: PlainText
    max_length: int
    pad_id: int
    segments_from: int = 1
    pad_left: bool = False
    positions: int | None = None
    tags: bool = False

    def gives_segments(self, texts: Sequence[tuple[str, ...]]) -> bool:
        """Returns whether the model is given segments of these rows."""
        return bool(texts) and 0 < self.segments_from <= (1 if self.tags else len(texts[0]))


def row_encoder(model: Any, tokenizer: Any, max_length: int) -> RowEncoder:
    """Fits model and tokenizer to each other: the config decides on segments, padding and positions.

    Args:
        model: Any classifier of texts or words; its config gets the tokenizer's padding id if it has none.
        tokenizer: Its tokenizer; gets the model's padding token and side if it has none, or another side;
            of words also blanks before them.
        max_length: Tokens a row.

    Raises:
        TokenizerError: The tokenizer has more words than the model, neither has a padding token, or words are
            to be classified and it does not say which piece is of which.
        SettingsError: `max_length` is over the model's positions.
    """
    check_fit(model, tokenizer, max_length=max_length)
    pad_id = _pad_id(model, tokenizer)
    tags = tags_words(model)
    if tags and not tokenizer.is_fast:
        raise TokenizerError(
            f"expected a fast tokenizer (tokenizer.json), which says which piece is of which word, got "
            f"{type(tokenizer).__name__} of {tokenizer.name_or_path}; take a model that has one"
        )
    if tags:
        read_words_after_blanks(tokenizer)
    # XLNet's classifier reads the last position.
    pad_left = getattr(model.config, "summary_type", None) == "last" and not tags
    if pad_left:
        tokenizer.padding_side = "left"
    return RowEncoder(
        words=PlainText(tokenizer),
        max_length=max_length,
        pad_id=pad_id,
        segments_from=_segments_from(model),
        pad_left=pad_left,
        positions=positions_of(model),
        tags=tags,
    )


def _pad_id(model: Any, tokenizer: Any) -> int:
    config = model.config.get_text_config()
    own: int | None = getattr(config, "pad_token_id", None)
    if own is None or not 0 <= own < getattr(config, "vocab_size", own + 1):
        own = tokenizer.pad_token_id
        if own is None:
            raise TokenizerError(
                f"expected a padding token, got none in the config of {type(model).__name__} and none in "
                f"{tokenizer.name_or_path}; set the tokenizer's pad_token and save it again"
            )
        # Classifiers such as GPT-2's look for it in the config, to find the last token of a row.
        config.pad_token_id = own
    elif tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(own)
    return own


def _segments_from(model: Any) -> int:
    # DistilBERT's forward, for one, takes none.
    if "token_type_ids" not in inspect.signature(model.forward).parameters:
        return 0
    kinds = getattr(model.config, "type_vocab_size", None)
    if kinds is not None:
        return int(kinds > 1)
    # XLNet has weights for whether two tokens are of one text. GPT-2 and similar models have none: they would
    # add the embeddings of the words 0 and 1.
    return 2 if any("seg_embed" in name for name, _ in model.named_parameters()) else 0


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Tokenised rows.

    Attributes:
        ids: [all tokens] ids of all rows, one after another, special tokens included.
        segments: [all tokens] token types, or None where the model knows none.
        offsets: [rows + 1] where each row starts in `ids`.
        pad_id: Id that fills short rows.
        pad_left: Padding comes before the row.
        cut: Rows that were longer.
        longest: Tokens of the longest row before it was cut.
        words: Where the words are, for a model that classifies them.
    """

    ids: npt.NDArray[np.int32]
    segments: npt.NDArray[np.int8] | None
    offsets: npt.NDArray[np.int64]
    pad_id: int
    pad_left: bool = False
    cut: int = 0
    longest: int = 0
    words: FirstPieces | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each row."""
        return np.diff(self.offsets)

    def row(self, index: int) -> dict[str, Any]:
        """Returns `input_ids` [T] and, where the model knows them, `token_type_ids` [T] of one row."""
        span = slice(self.offsets[index], self.offsets[index + 1])
        row = {"input_ids": self.ids[span]}
        return row if self.segments is None else {**row, "token_type_ids": self.segments[span]}


def encode(texts: Sequence[tuple[str, ...]], encoder: RowEncoder, before: int = 0) -> EncodedRows:
    """Tokenises rows of one or two texts; what is over the length is cut, the longer text first.

    Args:
        texts: One or two texts a row; for a model that classifies words, the words of a row.
        encoder: How the model reads them.
        before: Rows before these, for errors.

    Raises:
        DataError: A row has no token: its text is empty, and the tokenizer adds no special tokens.
    """
    lengths: list[int] = []
    uncut: list[int] = []
    ids: list[npt.NDArray[np.int32]] = []
    segments: list[npt.NDArray[np.int8]] = []
    first: list[npt.NDArray[np.int32]] = []
    has_segments = encoder.gives_segments(texts)
    with bar("tokenising", "rows", len(texts)) as shown:
        for start in range(0, len(texts), _BATCH):
            some = texts[start : start + _BATCH]
            # Words go in as they are, as one column of lists.
            columns: list[Any] = [some] if encoder.tags else [*map(list, zip(*some, strict=True))]
            batch = encoder.words(
                columns,
                truncation=True,
                max_length=encoder.max_length,
                # Rows have no padding yet.
                return_attention_mask=False,
                return_token_type_ids=has_segments,
            )
            found = [len(row) for row in batch["input_ids"]]
            if 0 in found:
                row = found.index(0)
                raise DataError(
                    f"row {before + start + row + 1}: expected text, got none, and this tokenizer adds "
                    "no special tokens, so that there is nothing to read; leave the row out"
                )
            full = [row for row, length in enumerate(found) if length >= encoder.max_length]
            if full:
                # transformers would warn of each row that is longer than the model takes.
                again = encoder.words([[column[row] for row in full] for column in columns], verbose=False)
                uncut.extend(map(len, again["input_ids"]))
            lengths.extend(found)
            ids.append(np.fromiter(chain.from_iterable(batch["input_ids"]), dtype=np.int32))
            if encoder.tags:
                of = [row.word_ids for row in batch.encodings]
                first.append(first_pieces(of, [len(words) for words in some]))
            if has_segments:
                segments.append(np.fromiter(chain.from_iterable(batch["token_type_ids"]), dtype=np.int8))
            shown.update(len(some))
    offsets = np.concatenate([[0], np.cumsum([len(words) for words in texts])]) if encoder.tags else None
    return EncodedRows(
        ids=np.concatenate(ids),
        segments=np.concatenate(segments) if has_segments else None,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        pad_id=encoder.pad_id,
        pad_left=encoder.pad_left,
        cut=sum(length > encoder.max_length for length in uncut),
        longest=max([*lengths, *uncut]),
        words=None if offsets is None else FirstPieces(np.concatenate(first), offsets),
    )


def report_cut(rows: EncodedRows, encoder: RowEncoder, which: str) -> None:
    """Logs how many rows were cut, and which `max_length` keeps them whole.

    Args:
        rows: The rows.
        encoder: What encoded them.
        which: What the rows are, e.g. `training`.
    """
    if rows.words is not None and rows.words.unseen:
        log(
            f"{rows.words.unseen:,} of {len(rows.words.first):,} words of the {which} rows have no piece, as "
            "they are cut off or the tokenizer makes nothing of them; they count as outside of entities"
        )
    if not rows.cut:
        return
    most = rows.longest if encoder.positions is None else min(rows.longest, encoder.positions)
    remedy = f"; `max_length` {most} keeps " + (
        "them whole" if most == rows.longest else f"as much as the model can take of {rows.longest:,}"
    )
    log(
        f"{rows.cut:,} of {len(rows):,} {which} rows have more than {encoder.max_length} tokens and are cut"
        + (remedy if most > encoder.max_length else ", which is all that the model can take")
    )


class PadCollator:
    """Pads rows to the longest of the batch.

    Called with rows as `EncodedRows.row` gives them, plus targets; returns `input_ids`,
    `attention_mask` and `token_type_ids` [B, T], and each target stacked. Targets of tokens [T, ...] are
    padded, too, with -100 or NaN (`words.no_value`).
    """

    def __init__(self, pad_id: int, pad_left: bool = False) -> None:
        self.pad_id = pad_id
        self.pad_left = pad_left

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Makes a batch of rows."""
        lengths = np.array([len(row["input_ids"]) for row in rows])
        batch = {"attention_mask": np.arange(lengths.max()) < lengths[:, None]}
        if self.pad_left:
            batch["attention_mask"] = batch["attention_mask"][:, ::-1]
        # Rows as tokenizers make them have masks of their own, all ones.
        for name in (each for each in rows[0] if each != "attention_mask"):
            values = [row[name] for row in rows]
            # Rows of one length need no padding, whatever they are of.
            if name not in ("input_ids", "token_type_ids") and len({np.shape(each) for each in values}) == 1:
                batch[name] = np.stack(values)
                continue
            joined = np.concatenate(values)
            if name in ("input_ids", "token_type_ids"):
                joined = joined.astype(np.int64)
            fill = {"input_ids": self.pad_id, "token_type_ids": 0}.get(name, no_value(joined))
            batch[name] = np.full((len(rows), lengths.max(), *joined.shape[1:]), fill, joined.dtype)
            batch[name][batch["attention_mask"]] = joined
        batch["attention_mask"] = batch["attention_mask"].astype(np.int64)
        return {name: torch.from_numpy(values) for name, values in batch.items()}
