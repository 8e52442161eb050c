"""A model as `wellread export` writes it: texts in, labels out, by ONNX Runtime and `tokenizers` alone.

Nothing here needs torch or transformers, so that an answer comes within a third of a second of the start.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.errors import DataError, SettingsError, SourceError, library_errors_as
from wellread_hf.serving.export_facts import FILES, ExportFacts, File, choose, kind_of, length_of, read_object
from wellread_hf.serving.machine import cores

Array = npt.NDArray[np.float32]
# One text, or a pair.
Text = str | tuple[str, str]
# Words that are shown for a mask.
_TOP = 5
# A batch ends before a row that is shorter than this share of its longest one.
_SHORTEST = 0.75
# ONNX Runtime adds and normalises in one kernel, which takes five times as long as its two kernels: a third
# of a 2-128's time (docs/performance.md).
_SLOW = ["SkipLayerNormFusion"]
# As many threads are taken on a machine that has fewer processors.
_THREADS = 64


class OnnxModel:
    """An exported model that is ready to answer.

    In int8 the scale of a layer's inputs is that of a whole batch, so an answer may differ in the second
    decimal with the rows beside it. In fp32 it does not.

    Args:
        folder: An export: `config.json`, `tokenizer.json`, `onnx/`.
        file: `int8` or `fp32`; None: int8 where there is one.
        threads: Threads of ONNX Runtime; 0: one a processor.
        max_length: Tokens a row, longer ones are cut; None: those of the export.
        opened: What opens a graph on so many threads.

    Raises:
        SourceError: The folder holds no such model, or ONNX Runtime refuses it.
        SettingsError: `max_length` is not what the model takes, or `threads` is below 0 or far too many.
    """

    def __init__(
        self,
        folder: Path,
        file: File | None = None,
        threads: int = 0,
        max_length: int | None = None,
        opened: Callable[[Path, int], Any] | None = None,
    ) -> None:
        config, facts = read_object(folder / "config.json"), ExportFacts.read(folder)
        words = read_object(folder / "tokenizer_config.json", needed=False)
        self.folder = folder
        self.file: File = choose(folder, file, facts)
        self.kind: str = facts.kind or kind_of(config)
        self.max_length = length_of(config, facts, words, max_length)
        self._tokenizer = _tokenizer(folder / "tokenizer.json", self.max_length, self.kind)
        self.labels = self._labels(config)
        pad = words.get("pad_token")
        pad = pad.get("content") if isinstance(pad, dict) else pad
        self._pad: int = config.get("pad_token_id") or (pad and self._tokenizer.token_to_id(pad)) or 0
        mask = words.get("mask_token")
        self._mask: str = (mask.get("content") if isinstance(mask, dict) else mask) or "[MASK]"
        self._session = (opened or session_of)(folder / FILES[self.file], threads)
        if (threads or cores()) == 1:
            # Else a list of texts is tokenised on all processors.
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._takes_segments = "token_type_ids" in {each.name for each in self._session.get_inputs()}
        self._output = [self._session.get_outputs()[0].name]

    def encode(self, texts: Sequence[Text]) -> list[Any]:
        """Returns a text's `Encoding` of `tokenizers`, cut to `max_length`; the rest is in `overflowing`.

        Special tokens in a text, such as `[SEP]`, are ordinary characters, as in training; only a fill-mask
        model reads them.

        Raises:
            DataError: A text cannot be written in UTF-8.
        """
        try:
            found: list[Any] = self._tokenizer.encode_batch_fast(texts)
        except TypeError:
            wrong = next((text for text in texts if not _is_text(text)), None)
            raise DataError(
                f"expected a text in UTF-8, or a pair of them, got {wrong!a:.60}; convert it"
            ) from None
        return found

    def encode_words(self, words: Sequence[str]) -> Any:
        """Returns the `Encoding` of one text's words, which says of each piece which word it is of."""
        return self._tokenizer.encode([*words], is_pretokenized=True)

    def logits(self, texts: Sequence[Text], batch_size: int = 32) -> Array:
        """Returns logits [n, classes] in the order of the texts; see `run`."""
        return self.run(self.encode(texts), batch_size)

    def run(self, rows: Sequence[Any], batch_size: int = 32) -> Array:
        """Runs the model over encoded rows, batched by length.

        Args:
            rows: As `encode` gives them.
            batch_size: Rows a batch at most.

        Returns:
            [n, classes]; of a classifier of words [n, tokens, classes], with padding on the right. Of a
            fill-mask model, logits of all words at the mask; of one for features, the mean of the tokens'
            last hidden states.

        Raises:
            DataError: A row has no token, or a fill-mask model gets a row without exactly one mask.
        """
        if len(rows) == 1:
            # No batch to choose: a tenth of a small model's time.
            return self._forward(rows)
        # A mask's logits are of the whole vocabulary: [32, 128, 30522] would take half a gigabyte.
        batch_size = 1 if self.kind == "fill-mask" else batch_size
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        found: Array | None = None
        for chosen in _batches(lengths, batch_size):
            part = self._forward([rows[row] for row in chosen])
            if found is None:
                shape = (int(lengths.max()), part.shape[2]) if part.ndim == 3 else part.shape[1:]
                found = np.zeros((len(rows), *shape), np.float32)
            if part.ndim == 3:
                found[chosen, : part.shape[1]] = part
            else:
                found[chosen] = part
        return np.empty((0, len(self.labels)), np.float32) if found is None else found

    def probabilities(self, logits: Array) -> Array:
        """Turns logits [n, classes] into probabilities; values and features stay what they are.

        The temperature of a calibrated model is part of its graph.
        """
        if self.kind in ("regression", "features"):
            return logits
        if self.kind == "multi-label":
            # By tanh, which has no exponential to overflow.
            return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))

    def predict(self, texts: Sequence[Text]) -> list[list[dict[str, Any]]]:
        """Returns of each text its labels with their probabilities as `score`, best first; see `ranked`."""
        return self.ranked(self.probabilities(self.logits(texts)))

    def ranked(self, scores: Array) -> list[list[dict[str, Any]]]:
        """Puts names to scores [n, classes]: a list of `label` and `score` a row, best first.

        Of a fill-mask model, the five best words.
        """
        best = np.argsort(-scores, axis=1, kind="stable")[:, : _TOP if self.kind == "fill-mask" else None]
        return [
            [{"label": self.labels[index], "score": row[index]} for index in order]
            for row, order in zip(scores.tolist(), best.tolist(), strict=True)
        ]

    def _forward(self, rows: Sequence[Any]) -> Array:
        width = max(map(len, rows))
        if width == 0 or min(map(len, rows)) == 0:
            raise DataError(
                "expected text, got none, and this tokenizer adds no special tokens; leave the row out"
            )
        ids = np.full((len(rows), width), self._pad, np.int64)
        mask = np.zeros_like(ids)
        feed = {"input_ids": ids, "attention_mask": mask}
        for row, encoding in enumerate(rows):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = 1
        if self._takes_segments:
            segments = np.zeros_like(ids)
            for row, encoding in enumerate(rows):
                # Most rows are one text, whose segments are all 0.
                if encoding.n_sequences > 1:
                    segments[row, : len(encoding)] = encoding.type_ids
            feed["token_type_ids"] = segments
        found: Array = self._session.run(self._output, feed)[0]
        if self.kind == "fill-mask":
            return np.asarray(found[np.arange(len(rows)), self._mask_places(ids)])
        if self.kind == "features":
            shares = mask[..., None] / mask.sum(axis=1, keepdims=True)[..., None]
            return np.asarray((found * shares).sum(axis=1), np.float32)
        return found

    def _mask_places(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        masks = ids == self._tokenizer.token_to_id(self._mask)
        for count in masks.sum(axis=1).tolist():
            if count != 1:
                raise DataError(f"expected one {self._mask} in each text, got {count}; write one")
        return np.asarray(masks.argmax(axis=1))

    def _labels(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        if self.kind == "features":
            return ()
        if self.kind == "fill-mask":
            size = self._tokenizer.get_vocab_size()
            # A model may have rows for no word, to fill its matrix.
            return tuple(
                self._tokenizer.id_to_token(index) or "" for index in range(config.get("vocab_size", size))
            )
        names = config.get("id2label") or {}
        return tuple(names[key] for key in sorted(names, key=int)) or ("LABEL_0", "LABEL_1")


def _batches(lengths: npt.NDArray[np.int64], batch_size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Cuts the rows, longest first, into batches of like length."""
    order = np.argsort(-lengths, kind="stable")
    lengths = lengths[order]
    start = 0
    while start < len(order):
        near = int(np.count_nonzero(lengths[start : start + batch_size] >= _SHORTEST * lengths[start]))
        yield order[start : start + near]
        start += near


def _tokenizer(path: Path, max_length: int, kind: str) -> Any:
    with _installed():
        from tokenizers import Tokenizer
    if not path.is_file():
        raise SourceError(f"expected {path}, found none; `wellread export MODEL` writes it")
    with library_errors_as(SourceError, f"{path} cannot be read", "export the model again"):
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length)
        tokenizer.encode_special_tokens = kind != "fill-mask"
    return tokenizer


def session_of(path: Path, threads: int = 0) -> Any:
    """Opens a graph in ONNX Runtime on the CPU, on so many threads; 0: one a processor.

    Raises:
        SettingsError: `threads` is below 0 or far too many.
        SourceError: ONNX Runtime is not installed, or refuses the graph.
    """
    # Thousands, which wait for each other in turn, take hours for one answer.
    most = max(_THREADS, os.cpu_count() or 1)
    if not 0 <= threads <= most:
        raise SettingsError(
            f"`threads`: expected 1 to {most}, or 0 for one a processor, got {threads}; give another"
        )
    with _installed():
        import onnxruntime
    options = onnxruntime.SessionOptions()
    # A number of its own choosing would be that of the machine, whatever a container may use.
    options.intra_op_num_threads = threads or cores()
    options.inter_op_num_threads = 1
    # Warnings about the graph are for who exports it.
    options.log_severity_level = 3
    with library_errors_as(SourceError, f"{path} cannot be loaded", "export the model again"):
        return onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOW
        )


def _installed() -> Any:
    return library_errors_as(
        SourceError, "the runtime cannot be loaded", "pip install 'wellread-hf[serve]' installs it"
    )


def _is_text(text: Any) -> bool:
    parts = text if isinstance(text, tuple) and len(text) == 2 else (text,)
    return all((isinstance(part, str) and part.isascii()) or _encodes(part) for part in parts)


def _encodes(part: Any) -> bool:
    try:
        return bool(part.encode() or True)
    except (AttributeError, UnicodeEncodeError):
        return False
