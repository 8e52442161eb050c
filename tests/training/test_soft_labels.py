"""The soft-label store: one pass, rows in order, shards that resume, and nothing damaged or foreign taken."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from row_encoders import of_bert
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from wellread_hf.errors import LabelError, StoreError
from wellread_hf.models.encode import row_encoder
from wellread_hf.models.load import new_classifier
from wellread_hf.settings import Label
from wellread_hf.students import Student
from wellread_hf.training.soft_labels import (
    SoftLabels,
    StoredStates,
    label_rows,
    stored_states,
    text_hashes,
)
from wellread_hf.training.teacher_classes import match_labels, teacher_order

LABEL = Label(max_length=32, batch_tokens=512, shard_rows=32)


def reads(tokenizer):
    return of_bert(tokenizer, LABEL.max_length)


@pytest.fixture(scope="module")
def texts(toy_folder):
    lines = (toy_folder / "pool.jsonl").read_text(encoding="utf-8").splitlines()
    return [(json.loads(line)["sentence"],) for line in lines][:100]


@pytest.fixture(scope="module")
def teacher(toy_tokenizer):
    return new_classifier(Student(2, 128), len(toy_tokenizer), ("a", "b", "c"), seed=0).eval()


@pytest.fixture
def store(teacher, toy_tokenizer, texts, tmp_path):
    assert label_rows(teacher, reads(toy_tokenizer), texts, [0, 1, 2], LABEL, tmp_path) == 0
    return tmp_path


def one_by_one(model, tokenizer, texts):
    """The teacher's logits with the stock tokenizer, a row at a time, without padding."""
    with torch.inference_mode():
        rows = [
            model(**tokenizer(*row, return_tensors="pt", truncation=True, max_length=32)).logits
            for row in texts
        ]
    return torch.cat(rows).numpy()


def shards(folder):
    return sorted(folder.glob("*.safetensors"))


def test_the_store_holds_the_teachers_logits_in_the_order_of_the_rows(store, teacher, toy_tokenizer, texts):
    found = SoftLabels.open(store)
    assert found.logits.dtype == np.float32
    assert found.logits.shape == (100, 3)
    np.testing.assert_allclose(found.logits, one_by_one(teacher, toy_tokenizer, texts), atol=1e-5)
    found.check_belongs(texts)
    assert [path.name for path in sorted(store.iterdir())] == [
        f"shard-{number:05d}-of-00004.safetensors" for number in range(4)
    ]


def test_columns_come_in_the_order_of_the_tasks_classes(teacher, toy_tokenizer, texts, tmp_path, store):
    other = tmp_path / "other"
    other.mkdir()
    label_rows(teacher, reads(toy_tokenizer), texts, [2, 0, 1], LABEL, other)
    assert np.array_equal(SoftLabels.open(other).logits, SoftLabels.open(store).logits[:, [2, 0, 1]])


def test_shards_and_batches_do_not_change_the_logits(teacher, toy_tokenizer, texts, tmp_path, store):
    expected = SoftLabels.open(store)
    for index, label in enumerate((Label(max_length=32), replace(LABEL, shard_rows=7, batch_tokens=32))):
        folder = tmp_path / str(index)
        folder.mkdir()
        label_rows(teacher, reads(toy_tokenizer), texts, [0, 1, 2], label, folder)
        found = SoftLabels.open(folder)
        np.testing.assert_allclose(found.logits, expected.logits, atol=1e-5)
        assert np.array_equal(found.hashes, expected.hashes)


def test_only_a_lost_shard_is_made_again(store, teacher, toy_tokenizer, texts):
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in shards(store)}
    shards(store)[2].unlink()
    assert label_rows(teacher, reads(toy_tokenizer), texts, [0, 1, 2], LABEL, store) == 3
    for path in shards(store):
        content, modified = before[path.name]
        assert path.read_bytes() == content
        assert (path.stat().st_mtime_ns == modified) == ("shard-00002" not in path.name)


def test_a_whole_store_is_not_computed_again(store, toy_tokenizer, texts):
    # A teacher that cannot be called shows that it is not.
    assert label_rows(None, reads(toy_tokenizer), texts, [0, 1, 2], LABEL, store) == 4


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.999])
def test_a_cut_shard_is_refused_by_name_and_made_again(store, teacher, toy_tokenizer, texts, keep):
    path = shards(store)[1]
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(StoreError) as refusal:
        SoftLabels.open(store)
    message = str(refusal.value)
    assert message.startswith(f"{path}: expected a whole shard of soft labels")
    assert "delete this file and the folder's stage.json" in message
    assert "recipes/label.py" in message
    assert label_rows(teacher, reads(toy_tokenizer), texts, [0, 1, 2], LABEL, store) == 3
    assert path.read_bytes() == whole


def test_a_flipped_bit_anywhere_is_refused(teacher, toy_tokenizer, texts, tmp_path):
    label_rows(teacher, reads(toy_tokenizer), texts[:3], [0, 1, 2], LABEL, tmp_path)
    (path,) = shards(tmp_path)
    whole = path.read_bytes()
    SoftLabels.open(tmp_path)
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            SoftLabels.open(tmp_path)
        except StoreError:
            continue
        pytest.fail(f"byte {place} of {len(whole)} was changed and taken")


def test_a_flipped_bit_is_made_good_by_the_next_run(store, teacher, toy_tokenizer, texts):
    path = shards(store)[3]
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 16]) + whole[-8:])
    with pytest.raises(StoreError, match="its checksum is wrong"):
        SoftLabels.open(store)
    assert label_rows(teacher, reads(toy_tokenizer), texts, [0, 1, 2], LABEL, store) == 3
    assert path.read_bytes() == whole


def test_a_shard_without_a_checksum_is_refused(store):
    from safetensors.numpy import load_file, save_file

    path = shards(store)[0]
    save_file(load_file(path), path)
    with pytest.raises(StoreError, match="expected a whole shard"):
        SoftLabels.open(store)


def test_a_missing_shard_is_refused(store):
    shards(store)[0].unlink()
    with pytest.raises(StoreError, match=r"expected 4 shards of soft labels, found 3; .* recipes/label.py"):
        SoftLabels.open(store)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(StoreError, match="expected 1 shards of soft labels, found 0"):
        SoftLabels.open(tmp_path)


def test_an_unfinished_shard_of_a_killed_pass_is_not_read(store, texts):
    (store / "shard-00000-of-00004.safetensors.part").write_bytes(b"half")
    SoftLabels.open(store).check_belongs(texts)


def test_foreign_texts_are_refused_by_row(store, texts):
    found = SoftLabels.open(store)
    other = [*texts[:41], ("something else",), *texts[42:]]
    with pytest.raises(LabelError) as refusal:
        found.check_belongs(other)
    message = str(refusal.value)
    assert "made for other texts: 1 of 100 rows differ, the first is row 42" in message
    assert "recipes/label.py" in message
    swapped = [texts[1], texts[0], *texts[2:]]
    with pytest.raises(LabelError, match="2 of 100 rows differ, the first is row 1"):
        found.check_belongs(swapped)
    with pytest.raises(LabelError, match="the soft labels have 100 rows, the data set has 99"):
        found.check_belongs(texts[:-1])


def test_shards_of_other_texts_are_not_reused(store, teacher, toy_tokenizer, texts):
    # Same lengths, so the same rows in every shard: only the hashes tell.
    words = sorted(set(toy_tokenizer.get_vocab()) - set(toy_tokenizer.all_special_tokens))
    other = [(" ".join(words[-1] for _ in text.split()),) for (text,) in texts]
    assert label_rows(teacher, reads(toy_tokenizer), other, [0, 1, 2], LABEL, store) == 0
    SoftLabels.open(store).check_belongs(other)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.text(), st.text()), min_size=2, max_size=5, unique=True))
def test_hashes_tell_rows_apart_and_columns_too(rows):
    rows = [tuple(text.replace("\0", "") for text in row) for row in rows]
    hashes = text_hashes(rows)
    assert len(set(hashes.tolist())) == len(set(rows))
    assert text_hashes([("ab", "c")]) != text_hashes([("a", "bc")])


def test_hashes_are_pinned():
    assert text_hashes([("it was good",), ("a", "b")]).tolist() == [
        10721132242112424955,
        11797832347080049151,
    ]


def test_a_teacher_of_another_kind_reads_the_text_with_its_own_tokenizer(texts, tmp_path):
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        [text for (text,) in texts], vocab_size=400, special_tokens=["<pad>", "<s>", "</s>"]
    )
    bpe.save(str(tmp_path / "tokenizer.json"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"),
        pad_token="<pad>",
        model_input_names=["input_ids", "attention_mask"],
    )
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=32, n_layers=1, n_heads=2, hidden_dim=64, num_labels=2
    )
    teacher = DistilBertForSequenceClassification(config).eval()
    folder = tmp_path / "store"
    folder.mkdir()
    label_rows(teacher, row_encoder(teacher, tokenizer, 32), texts, [1, 0], LABEL, folder)
    found = SoftLabels.open(folder)
    np.testing.assert_allclose(found.logits, one_by_one(teacher, tokenizer, texts)[:, [1, 0]], atol=1e-5)
    found.check_belongs(texts)


def test_pairs_are_labelled_as_pairs(teacher, toy_tokenizer, texts, tmp_path):
    pairs = [(one, other) for (one,), (other,) in zip(texts[:20], texts[20:40], strict=True)]
    label_rows(teacher, reads(toy_tokenizer), pairs, [0, 1, 2], LABEL, tmp_path)
    found = SoftLabels.open(tmp_path)
    np.testing.assert_allclose(found.logits, one_by_one(teacher, toy_tokenizer, pairs), atol=1e-5)


def test_the_real_teacher_is_stored_as_it_answers(shared, tmp_path):
    import pyarrow.parquet as pq
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = shared / "models" / "minilm-l6-sst2"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    teacher = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    table = pq.read_table(next((shared / "data" / "glue" / "sst2").glob("validation-*")))
    rows = [(text,) for text in table["sentence"].to_pylist()[:60]]
    order = teacher_order(teacher.config, ("negative", "positive"), ())
    label_rows(teacher, reads(tokenizer), rows, order, LABEL, tmp_path)
    logits = SoftLabels.open(tmp_path).logits
    np.testing.assert_allclose(logits, one_by_one(teacher, tokenizer, rows)[:, order], atol=1e-4)
    assert (logits.argmax(axis=1) == table["label"].to_numpy()[:60]).mean() > 0.85


@settings(derandomize=True, deadline=None)
@given(st.permutations(["entailment", "neutral", "contradiction", "other thing"]))
def test_labels_are_matched_by_name_in_any_order(teacher):
    task = ["neutral", "contradiction", "other thing", "entailment"]
    order = match_labels(teacher, task)
    assert [teacher[index] for index in order] == task


def test_case_spaces_and_dashes_do_not_matter_in_names():
    assert match_labels(["NOT_ENTAILMENT", "Entailment"], ["entailment", "not entailment"]) == [1, 0]
    assert match_labels(["Very-Good", "bad"], ["very_good", "bad"]) == [0, 1]


@pytest.mark.parametrize(
    ("teacher", "task"),
    [
        (["LABEL_0", "LABEL_1"], ["negative", "positive"]),
        (["negative", "positive", "neutral"], ["negative", "positive"]),
        (["good", "Good"], ["good", "GOOD"]),
        (["a", "a"], ["a", "b"]),
    ],
)
def test_names_that_do_not_match_are_refused_with_both_lists(teacher, task):
    with pytest.raises(LabelError) as refusal:
        match_labels(teacher, task)
    message = str(refusal.value)
    assert f"({', '.join(teacher)})" in message
    assert f"({', '.join(task)})" in message
    assert "name the teacher's outputs in their order with `label.teacher_labels`" in message


def config(*names):
    return SimpleNamespace(num_labels=len(names), id2label=dict(enumerate(names)))


def test_a_teachers_order_is_found_by_its_names_or_the_given_ones():
    task = ("negative", "positive")
    assert teacher_order(config("POSITIVE", "NEGATIVE"), task, ()) == [1, 0]
    assert teacher_order(config("LABEL_0", "LABEL_1"), task, ("positive", "negative")) == [1, 0]
    assert teacher_order(config("LABEL_0"), (), ()) == [0]


def test_names_that_are_given_do_not_turn_round_what_a_teacher_says_of_itself():
    task, sure = ("negative", "positive"), config("positive", "negative")
    assert teacher_order(sure, task, ("Positive", "negative")) == [1, 0]
    with pytest.raises(LabelError, match=r"negative positive: the config of A .* positive, negative; leave"):
        teacher_order(sure, task, ("negative", "positive"), "A")


@pytest.mark.parametrize(
    ("names", "task", "said"),
    [
        (("score",), ("negative", "positive"), ["trained for regression", "2 classes (negative, positive)"]),
        (("negative", "positive"), (), ["trained for 2 classes", "the task is regression"]),
        (("a", "b", "c"), ("a", "b"), ["trained for 3 classes", "2 classes (a, b)"]),
    ],
)
def test_a_teacher_of_another_task_is_refused(names, task, said):
    with pytest.raises(LabelError) as refusal:
        teacher_order(config(*names), task, ())
    for words in [*said, "take a teacher that was fine-tuned on this task"]:
        assert words in str(refusal.value)


def test_default_names_of_a_teacher_are_refused_with_the_option():
    with pytest.raises(LabelError, match=r"LABEL_0, LABEL_1.*`label.teacher_labels`"):
        teacher_order(config("LABEL_0", "LABEL_1"), ("negative", "positive"), ())


def states_one_by_one(model, tokenizer, texts, layers):
    with torch.inference_mode():
        rows = [
            model(**tokenizer(*row, return_tensors="pt"), output_hidden_states=True).hidden_states
            for row in texts
        ]
    return np.stack([[row[layer][0, 0].numpy() for layer in layers] for row in rows])


def test_states_of_named_layers_lie_beside_the_logits(store, teacher, toy_tokenizer, texts, tmp_path):
    folder = tmp_path / "states"
    folder.mkdir()
    label = replace(LABEL, states=(2, 1))
    label_rows(teacher, reads(toy_tokenizer), texts, [0, 1, 2], label, folder)
    expected = states_one_by_one(teacher, toy_tokenizer, texts, [1, 2])
    found = SoftLabels.open(folder, [1, 2])
    assert found.states.dtype == np.float16
    np.testing.assert_allclose(found.states, expected, atol=2e-3)
    assert np.abs(expected[:, 0] - expected[:, 1]).max() > 0.1
    # A map may use one layer twice, or leave one out; who asks for none gets what there was before.
    assert np.array_equal(SoftLabels.open(folder, [2, 2]).states, found.states[:, [1, 1]])
    plain = SoftLabels.open(folder)
    assert plain.states is None
    assert np.array_equal(plain.logits, SoftLabels.open(store).logits)
    assert stored_states(folder) == StoredStates(layers=(2, 1), depth=2)
    # Again: nothing is computed.
    assert label_rows(None, reads(toy_tokenizer), texts, [0, 1, 2], label, folder) == 4


def test_a_store_without_the_states_is_told_how_to_get_them_and_is_made_anew(
    store, teacher, toy_tokenizer, texts
):
    assert stored_states(store) is None
    with pytest.raises(LabelError, match=r"layers 1, 2 .* got none; label again with `label\.states` 1 2"):
        SoftLabels.open(store, [1, 2])
    assert (
        label_rows(teacher, reads(toy_tokenizer), texts, [0, 1, 2], replace(LABEL, states=(2,)), store) == 0
    )
    with pytest.raises(LabelError, match=r"layers 1 .* got 2; label again with `label\.states` 1 2"):
        SoftLabels.open(store, [1])


def test_a_flipped_bit_of_states_is_refused(teacher, toy_tokenizer, texts, tmp_path):
    label_rows(teacher, reads(toy_tokenizer), texts[:2], [0, 1, 2], replace(LABEL, states=(1,)), tmp_path)
    (path,) = shards(tmp_path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(StoreError):
            SoftLabels.open(tmp_path, [1])


def test_states_too_large_for_sixteen_bits_are_refused(toy_tokenizer, texts, tmp_path):
    teacher = new_classifier(Student(2, 128), len(toy_tokenizer), ("a", "b"), seed=0)
    with torch.no_grad():
        teacher.bert.encoder.layer[0].output.LayerNorm.bias += 1e5
    with pytest.raises(LabelError, match="expected finite numbers"):
        label_rows(teacher, reads(toy_tokenizer), texts[:4], [0, 1], replace(LABEL, states=(1,)), tmp_path)
    assert not shards(tmp_path)


@pytest.mark.parametrize(
    "names", [{1: "neg", 2: "pos"}, {0: 0, 1: 1}, {0: "neg", 1: None}, {0: "neg", 2: "pos"}]
)
def test_names_of_outputs_that_are_no_names_from_0_are_refused(names):
    config = SimpleNamespace(num_labels=2, id2label=names)
    with pytest.raises(LabelError, match=r"t was saved with id2label .*: expected a name"):
        teacher_order(config, ("neg", "pos"), (), "t")


KILLED = """
import os, signal, sys
from pathlib import Path
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from wellread_hf.models.encode import row_encoder
from wellread_hf.settings import Label
from wellread_hf.training.soft_labels import label_rows
model, tokenizer, pool, folder = map(Path, sys.argv[1:])
import json
texts = [(json.loads(line)["sentence"],) for line in pool.read_text().splitlines()][:100]
teacher = AutoModelForSequenceClassification.from_pretrained(model)
batches = 0
def count(*_):
    global batches
    batches += 1
    if len(list(folder.glob("*.safetensors"))) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
teacher.register_forward_hook(count)
settings = Label(max_length=32, batch_tokens=512, shard_rows=32)
encoder = row_encoder(teacher, AutoTokenizer.from_pretrained(tokenizer), 32)
label_rows(teacher, encoder, texts, [0, 1, 2], settings, folder)
"""


@pytest.mark.slow
def test_a_killed_pass_goes_on_where_it_was(store, teacher, toy_folder, toy_tokenizer, texts, tmp_path):
    import signal
    import subprocess
    import sys

    killed = tmp_path / "killed"
    killed.mkdir()
    teacher.save_pretrained(tmp_path / "teacher")
    places = [tmp_path / "teacher", toy_folder / "tokenizer", toy_folder / "pool.jsonl", killed]
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, places)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert len(shards(killed)) == 2
    assert label_rows(teacher, reads(toy_tokenizer), texts, [0, 1, 2], LABEL, killed) == 2
    assert [path.read_bytes() for path in shards(killed)] == [path.read_bytes() for path in shards(store)]
