"""Tokenised rows on disk: what `encode` gives, once for all runs, and anew where a file is damaged."""

import io
import multiprocessing
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from row_encoders import of_bert
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

from wellread_hf.models.encode import EncodedRows, encode
from wellread_hf.models.encode_once import ROWS, encode_once
from wellread_hf.models.save import save_model

TEXTS = [("was not never", "it"), ("although", ""), ("it was", "but not")]


def files(runs: Path) -> list[Path]:
    return sorted((runs / ROWS).glob("*.npz"))


def same(one: EncodedRows, other: EncodedRows) -> bool:
    arrays = [(one.ids, other.ids), (one.segments, other.segments), (one.offsets, other.offsets)]
    facts = [(rows.pad_id, rows.pad_left, rows.cut, rows.longest) for rows in (one, other)]
    return facts[0] == facts[1] and all(
        np.array_equal(first, second) and (first is None or first.dtype == second.dtype)
        for first, second in arrays
    )


@pytest.mark.parametrize("texts", [TEXTS, [row[:1] for row in TEXTS]], ids=["pairs", "single"])
@pytest.mark.parametrize("segments", [0, 1, 2])
def test_what_is_written_and_what_is_read_is_what_encode_gives(toy_tokenizer, tmp_path, texts, segments):
    encoder = replace(of_bert(toy_tokenizer, 8), segments_from=segments)
    expected = encode(texts, encoder)
    assert same(encode_once(texts, encoder, tmp_path), expected)
    (file,) = files(tmp_path)
    written = file.stat()
    assert same(encode_once(texts, encoder, tmp_path), expected)
    # Not written again: neither the bytes' time nor the file itself is another one.
    found = files(tmp_path)[0].stat()
    assert (found.st_mtime_ns, found.st_ino) == (written.st_mtime_ns, written.st_ino)


def test_the_second_call_takes_what_lies_there(toy_tokenizer, tmp_path):
    encode_once(TEXTS, of_bert(toy_tokenizer, 8), tmp_path)
    (file,) = files(tmp_path)
    arrays = dict(np.load(file))
    arrays["ids"] = arrays["ids"] + 1
    np.savez(file, **arrays)
    assert np.array_equal(encode_once(TEXTS, of_bert(toy_tokenizer, 8), tmp_path).ids, arrays["ids"])


def archive(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def changed(content: bytes, **changes: Any) -> bytes:
    return archive(**(dict(np.load(io.BytesIO(content))) | changes))


def lone_array() -> bytes:
    content = io.BytesIO()
    np.save(content, np.arange(3))
    return content.getvalue()


def foreign_zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("ids", "words")
        file.writestr("offsets", "words")
    return content.getvalue()


DAMAGE = {
    "empty": lambda good: b"",
    "words": lambda good: b"these are no rows",
    "a lone array": lambda good: lone_array(),
    "a foreign zip": lambda good: foreign_zip(),
    "cut in half": lambda good: good[: len(good) // 2],
    "without its last byte": lambda good: good[:-1],
    "a byte changed": lambda good: good[:150] + bytes([good[150] ^ 255]) + good[151:],
    "without ids": lambda good: archive(offsets=np.arange(4)),
    "objects": lambda good: changed(good, ids=np.array([None, "a"], dtype=object)),
    "offsets of fewer rows": lambda good: changed(good, offsets=np.load(io.BytesIO(good))["offsets"][[0, 3]]),
    "offsets beyond the ids": lambda good: changed(good, offsets=np.load(io.BytesIO(good))["offsets"] + 1),
    "cut rows uncounted": lambda good: changed(good, uncut=np.array([0, 1, 2])),
    "no segments": lambda good: archive(
        **{name: array for name, array in np.load(io.BytesIO(good)).items() if name != "segments"}
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_foreign_file_is_made_anew(toy_tokenizer, tmp_path, damage):
    expected = encode_once(TEXTS, of_bert(toy_tokenizer, 8), tmp_path)
    (file,) = files(tmp_path)
    good = file.read_bytes()
    file.write_bytes(DAMAGE[damage](good))
    assert same(encode_once(TEXTS, of_bert(toy_tokenizer, 8), tmp_path), expected)
    assert files(tmp_path) == [file]
    assert dict(np.load(file)).keys() == dict(np.load(io.BytesIO(good))).keys()
    assert np.array_equal(np.load(file)["ids"], expected.ids)


@pytest.mark.parametrize("padding", [True, False])
def test_the_saved_tokenizer_is_the_same_whether_rows_came_from_a_file_or_not(toy_folder, tmp_path, padding):
    def saved(name):
        tokenizer = AutoTokenizer.from_pretrained(toy_folder / "tokenizer")
        if padding:
            tokenizer("was", truncation=True, max_length=5, padding="max_length")
        encode_once(TEXTS, of_bert(tokenizer, 8), tmp_path)
        save_model(model, tokenizer, tmp_path / name)
        return {file.name: file.read_bytes() for file in (tmp_path / name).glob("*.json")}

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertForMaskedLM(BertConfig(vocab_size=10, **sizes))
    fresh, found = saved("fresh"), saved("found")
    assert fresh == found
    assert fresh["tokenizer.json"] == (toy_folder / "tokenizer" / "tokenizer.json").read_bytes()


def test_whatever_decides_the_rows_has_a_file_of_its_own(toy_folder, toy_tokenizer, tmp_path):
    other_side = AutoTokenizer.from_pretrained(toy_folder / "tokenizer", truncation_side="left")
    other_words = AutoTokenizer.from_pretrained(toy_folder / "tokenizer")
    other_words.add_tokens(["never"])
    as_ever = of_bert(toy_tokenizer, 8)
    calls = [
        (TEXTS, as_ever),
        (TEXTS, of_bert(toy_tokenizer, 9)),
        (TEXTS[:2], as_ever),
        (TEXTS[::-1], as_ever),
        # The same letters, cut elsewhere.
        ([("it", "was")], as_ever),
        ([("itw", "as")], as_ever),
        ([("it",), ("was",)], as_ever),
        (TEXTS, of_bert(other_side, 8)),
        (TEXTS, replace(as_ever, segments_from=0)),
        (TEXTS, of_bert(other_words, 8)),
    ]
    for number, (texts, encoder) in enumerate(calls, start=1):
        assert same(encode_once(texts, encoder, tmp_path), encode(texts, encoder))
        assert len(files(tmp_path)) == number
    # What an earlier call left in a tokenizer decides nothing; padding is not in the file.
    toy_tokenizer("was", truncation=True, max_length=5, padding="max_length")
    encode_once(TEXTS, replace(as_ever, pad_id=5, pad_left=True), tmp_path)
    assert len(files(tmp_path)) == len(calls)


def _meet(tokenizer: Path, runs: Path, barrier: Any, results: Any) -> None:
    texts = [("was not never", str(number)) for number in range(3_000)]
    loaded = AutoTokenizer.from_pretrained(tokenizer)
    barrier.wait()
    rows = encode_once(texts, of_bert(loaded, 16), runs)
    (file,) = files(runs)
    results.put((rows.ids.tobytes(), rows.offsets.tobytes(), file.stat().st_ino))


def test_two_processes_at_once_make_one_file(toy_folder, tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    arguments = (toy_folder / "tokenizer", tmp_path, barrier, results)
    both = [context.Process(target=_meet, args=arguments) for _ in range(2)]
    for process in both:
        process.start()
    first, second = results.get(timeout=100), results.get(timeout=100)
    for process in both:
        process.join()
    # The second found the first one's file, and read it.
    assert first == second
    assert len(files(tmp_path)) == 1
