"""Packing document by document: windows of one document each, and their documents' numbers."""

from pathlib import Path

import pytest
from tiny import SPECIAL, word_tokenizer

from wellread_hf.data.documents import open_documents, pack_documents
from wellread_hf.data.tokens import tokens_of
from wellread_hf.errors import DataError, StoreError

LENGTH = 19


def test_a_document_gives_windows_from_its_start_and_its_end_is_counted(tmp_path: Path) -> None:
    def words(numbers: range) -> str:
        return " ".join(f"word{number}" for number in numbers)

    texts = [words(range(40)), words(range(5)), "", words(range(10, 26)), "nothing known " * 20]
    packing = pack_documents(tokens_of(texts, word_tokenizer()), word_tokenizer(), LENGTH, 3, tmp_path)
    opened = open_documents(tmp_path, packing)
    first = len(SPECIAL)
    assert opened.ids.tolist() == [
        list(range(first, first + 16)),
        list(range(first + 16, first + 32)),
        list(range(first + 10, first + 26)),
    ]
    assert opened.documents.tolist() == [0, 0, 3]
    assert (packing.blocks, packing.texts, packing.documents, packing.short) == (3, 5, 3, 2)
    assert packing.left_out == 2  # unknown words
    assert packing.tokens == 40 + 5 + 16 + 40
    assert packing.tokens_left_out == 8 + 5 + 8
    (tmp_path / "documents.bin").write_bytes(b"")
    with pytest.raises(StoreError, match=r"documents\.bin: expected 12 bytes"):
        open_documents(tmp_path, packing)


def test_documents_do_not_depend_on_the_batches_they_are_read_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [" ".join(f"word{(row + word) % 50}" for word in range(row)) for row in range(60)]
    found = []
    for size in (1_000_000, 300):
        monkeypatch.setattr("wellread_hf.data.tokens._BATCH_CHARACTERS", size)
        folder = tmp_path / str(size)
        folder.mkdir()
        pack_documents(tokens_of(texts, word_tokenizer()), word_tokenizer(), LENGTH, 3, folder)
        found.append([(folder / name).read_bytes() for name in ("blocks.bin", "documents.bin")])
    assert found[0] == found[1]
    assert found[0][0]


def test_without_a_long_document_the_corpus_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="at least 16 tokens for blocks of 19, got 3 texts, the longest of 15"
    ):
        pack_documents(
            tokens_of(["word1 " * 15] * 3, word_tokenizer()), word_tokenizer(), LENGTH, 3, tmp_path
        )
    assert not list(tmp_path.iterdir())
