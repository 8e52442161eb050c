"""Models and data of a few thousand numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertTokenizer,
    DataCollatorWithPadding,
    TrainingArguments,
)

from wellread_hf.metrics.per_word import PerWord
from wellread_hf.models.encode import EncodedRows
from wellread_hf.models.words import FirstPieces

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = 60


def word_tokenizer() -> Any:
    words = [*SPECIAL, *(f"word{number}" for number in range(VOCABULARY - len(SPECIAL)))]
    return BertTokenizer(vocab={word: index for index, word in enumerate(words)}, model_max_length=64)


def tiny_config(**changes: Any) -> BertConfig:
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "initializer_range": 0.1,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    return BertConfig(**(sizes | changes))


def tiny_masked_lm(seed: int = 0, **changes: Any) -> BertForMaskedLM:
    torch.manual_seed(seed)
    return BertForMaskedLM(tiny_config(**changes))


def tiny_pretraining(seed: int = 0, **changes: Any) -> BertForPreTraining:
    torch.manual_seed(seed)
    return BertForPreTraining(tiny_config(**changes))


def tiny_classifier(seed: int = 0, **changes: Any) -> BertForSequenceClassification:
    torch.manual_seed(seed)
    return BertForSequenceClassification(tiny_config(**changes))


def tiny_tagger(seed: int = 0, **changes: Any) -> BertForTokenClassification:
    torch.manual_seed(seed)
    return BertForTokenClassification(tiny_config(**changes))


def random_blocks(rows: int, length: int, seed: int = 0) -> np.ndarray:
    """Blocks [rows, length] as packing makes them, whose words are not equally frequent."""
    draw = np.random.default_rng(seed)
    words = len(SPECIAL) + np.minimum(
        draw.geometric(0.08, size=(rows, length)) - 1, VOCABULARY - len(SPECIAL) - 1
    )
    words[:, 0], words[:, -1] = 2, 3
    return words.astype(np.uint16)


def random_rows(rows: int, seed: int = 0) -> EncodedRows:
    """Rows of 4 to 16 tokens."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(4, 17, size=rows)
    ids = draw.integers(len(SPECIAL), VOCABULARY, size=lengths.sum()).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids[offsets[:-1]], ids[offsets[1:] - 1] = 2, 3
    return EncodedRows(ids=ids, segments=np.zeros(len(ids), np.int8), offsets=offsets, pad_id=0)


def random_tags(rows: int, seed: int = 0, classes: int = 3) -> tuple[EncodedRows, PerWord, PerWord]:
    """Rows of words of two pieces, their tags, and a teacher's logits; some words lack one of them."""
    encoded, draw = random_rows(rows, seed), np.random.default_rng(seed)
    first = [np.arange(1, length - 1, 2) for length in encoded.lengths]
    counts = np.array([len(row) for row in first])
    words = FirstPieces(np.concatenate(first).astype(np.int32), np.concatenate([[0], np.cumsum(counts)]))
    labels = draw.integers(0, classes, size=counts.sum())
    logits = 2 * draw.normal(size=(counts.sum(), classes)).astype(np.float32)
    labels[draw.random(len(labels)) < 0.3] = -100
    logits[draw.random(len(labels)) < 0.2] = np.nan
    names = tuple(map(str, range(classes)))
    return replace(encoded, words=words), PerWord.of(labels, counts, names), PerWord.of(logits, counts)


def taught_rows(labels: Any, outputs: int, logits: Any = None, rows: int = 8) -> Dataset:
    """Rows with `teacher_logits` and, if there are any, `labels`."""
    encoded = random_rows(rows)
    ids = [encoded.row(index)["input_ids"].tolist() for index in range(rows)]
    values = (
        2 * np.random.default_rng(1).normal(size=(rows, outputs)) if logits is None else np.asarray(logits)
    )
    columns = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}
    columns["teacher_logits"] = values.astype(np.float32).tolist()
    return Dataset.from_dict(columns | ({} if labels is None else {"labels": labels}))


def padded(rows: Any) -> Any:
    return DataCollatorWithPadding(word_tokenizer())(rows)


def step_arguments(folder: Path, micro: int = 8, **more: Any) -> TrainingArguments:
    """Plain arguments for one step of eight rows in their order, without clipping."""
    return TrainingArguments(
        str(folder),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=8 // micro,
        **{"max_steps": 1, "max_grad_norm": 0.0, "train_sampling_strategy": "sequential"} | more,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )


def weights_of(model: Any) -> dict[str, np.ndarray]:
    return {name: value.detach().cpu().numpy().copy() for name, value in model.state_dict().items()}


def bits(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()
