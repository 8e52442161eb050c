"""The soft-label store: one pass, rows in order, shards that resume, and nothing damaged or foreign taken."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from row_encoders import label_with, of_bert
from safetensors.numpy import load_file, save_file
from scipy.special import expit, softmax
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from wellread_hf.errors import LabelError, StoreError
from wellread_hf.labelling.soft_labels import (
    SoftLabels,
    StoredStates,
    mean_logits,
    stored_states,
    text_hashes,
)
from wellread_hf.labelling.teacher_classes import teacher_order
from wellread_hf.models.encode import row_encoder
from wellread_hf.models.load import new_classifier
from wellread_hf.settings import Label
from wellread_hf.students import Student

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
    assert label_with(teacher, reads(toy_tokenizer), texts, [0, 1, 2], LABEL, tmp_path) == 0
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
    label_with(teacher, reads(toy_tokenizer), texts, [2, 0, 1], LABEL, other)
    assert np.array_equal(SoftLabels.open(other).logits, SoftLabels.open(store).logits[:, [2, 0, 1]])


def test_shards_and_batches_do_not_change_the_logits(teacher, toy_tokenizer, texts, tmp_path, store):
    expected = SoftLabels.open(store)
    for index, label in enumerate((Label(max_length=32), replace(LABEL, shard_rows=7, batch_tokens=32))):
        folder = tmp_path / str(index)
        folder.mkdir()
        label_with(teacher, reads(toy_tokenizer), texts, [0, 1, 2], label, folder)
        found = SoftLabels.open(folder)
        np.testing.assert_allclose(found.logits, expected.logits, atol=1e-5)
        assert np.array_equal(found.hashes, expected.hashes)


def test_only_a_lost_shard_is_made_again(store, teacher, toy_tokenizer, texts):
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in shards(store)}
    shards(store)[2].unlink()
    assert label_with(teacher, reads(toy_tokenizer), texts, [0, 1, 2], LABEL, store) == 3
    for path in shards(store):
        content, modified = before[path.name]
        assert path.read_bytes() == content
        assert (path.stat().st_mtime_ns == modified) == ("shard-00002" not in path.name)


def _uncheck(path):
    save_file(load_file(path), path)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "a flipped bit": lambda path: path.write_bytes(path.read_bytes()[:-9] + b"\0" + path.read_bytes()[-8:]),
    "no checksum": _uncheck,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_shard_is_refused_by_name_and_made_again(store, teacher, toy_tokenizer, texts, damage):
    path = shards(store)[1]
    whole = path.read_bytes()
    DAMAGE[damage](path)
    with pytest.raises(StoreError) as refusal:
        SoftLabels.open(store)
    message = str(refusal.value)
    assert message.startswith(f"{path}: expected a whole shard of soft labels")
    assert "delete this file and the folder's stage.json" in message
    assert label_with(teacher, reads(toy_tokenizer), texts, [0, 1, 2], LABEL, store) == 3
    assert path.read_bytes() == whole
    # A teacher that cannot be called shows that a whole store is not computed again.
    assert label_with(None, reads(toy_tokenizer), texts, [0, 1, 2], LABEL, store) == 4


def test_a_missing_shard_is_refused_and_an_unfinished_one_is_not_read(store, texts):
    (store / "shard-00000-of-00004.safetensors.part").write_bytes(b"half")
    SoftLabels.open(store).check_belongs(texts)
    for left in (3, 2, 1):
        shards(store)[0].unlink()
        with pytest.raises(StoreError, match=f"expected 4 shards .* found {left}; .* wellread label"):
            SoftLabels.open(store)
    shards(store)[0].unlink()
    with pytest.raises(StoreError, match="expected 1 shards of soft labels, found 0"):
        SoftLabels.open(store)


def test_a_flipped_bit_anywhere_is_refused(teacher, toy_tokenizer, texts, tmp_path):
    label_with(teacher, reads(toy_tokenizer), texts[:3], [0, 1, 2], LABEL, tmp_path)
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


def test_foreign_texts_are_refused_by_row(store, texts):
    found = SoftLabels.open(store)
    other = [*texts[:41], ("something else",), *texts[42:]]
    with pytest.raises(LabelError) as refusal:
        found.check_belongs(other)
    message = str(refusal.value)
    assert "made for other texts: 1 of 100 rows differ, the first is row 42" in message
    assert "wellread label" in message
    swapped = [texts[1], texts[0], *texts[2:]]
    with pytest.raises(LabelError, match="2 of 100 rows differ, the first is row 1"):
        found.check_belongs(swapped)
    with pytest.raises(LabelError, match="the soft labels have 100 rows, the data set has 99"):
        found.check_belongs(texts[:-1])


def test_shards_of_other_texts_are_not_reused(store, teacher, toy_tokenizer, texts):
    # Same lengths, so the same rows in every shard: only the hashes differ.
    words = sorted(set(toy_tokenizer.get_vocab()) - set(toy_tokenizer.all_special_tokens))
    other = [(" ".join(words[-1] for _ in text.split()),) for (text,) in texts]
    assert label_with(teacher, reads(toy_tokenizer), other, [0, 1, 2], LABEL, store) == 0
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
    label_with(teacher, row_encoder(teacher, tokenizer, 32), texts, [1, 0], LABEL, folder)
    found = SoftLabels.open(folder)
    np.testing.assert_allclose(found.logits, one_by_one(teacher, tokenizer, texts)[:, [1, 0]], atol=1e-5)
    found.check_belongs(texts)


def test_pairs_are_labelled_as_pairs(teacher, toy_tokenizer, texts, tmp_path):
    pairs = [(one, other) for (one,), (other,) in zip(texts[:20], texts[20:40], strict=True)]
    label_with(teacher, reads(toy_tokenizer), pairs, [0, 1, 2], LABEL, tmp_path)
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
    label_with(teacher, reads(tokenizer), rows, order, LABEL, tmp_path)
    logits = SoftLabels.open(tmp_path).logits
    np.testing.assert_allclose(logits, one_by_one(teacher, tokenizer, rows)[:, order], atol=1e-4)
    assert (logits.argmax(axis=1) == table["label"].to_numpy()[:60]).mean() > 0.85


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
    label_with(teacher, reads(toy_tokenizer), texts, [0, 1, 2], label, folder)
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
    assert label_with(None, reads(toy_tokenizer), texts, [0, 1, 2], label, folder) == 4


def test_a_store_without_the_states_is_refused_with_the_remedy_and_made_anew(
    store, teacher, toy_tokenizer, texts
):
    assert stored_states(store) is None
    with pytest.raises(LabelError, match=r"layers 1, 2 .* got none; label again with `label\.states` 1 2"):
        SoftLabels.open(store, [1, 2])
    assert (
        label_with(teacher, reads(toy_tokenizer), texts, [0, 1, 2], replace(LABEL, states=(2,)), store) == 0
    )
    with pytest.raises(LabelError, match=r"layers 1 .* got 2; label again with `label\.states` 1 2"):
        SoftLabels.open(store, [1])


def test_a_flipped_bit_of_states_is_refused(teacher, toy_tokenizer, texts, tmp_path):
    label_with(teacher, reads(toy_tokenizer), texts[:2], [0, 1, 2], replace(LABEL, states=(1,)), tmp_path)
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
        label_with(teacher, reads(toy_tokenizer), texts[:4], [0, 1], replace(LABEL, states=(1,)), tmp_path)
    assert not shards(tmp_path)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_mean_is_that_of_probabilities(classes):
    draw = np.random.default_rng(0)
    teachers = [4 * draw.normal(size=(7, classes)).astype(np.float32) for _ in range(3)]
    found = softmax(mean_logits(teachers, [0.5, 0.2, 0.3]), axis=1)
    expected = sum(share * softmax(one, axis=1) for share, one in zip([0.5, 0.2, 0.3], teachers, strict=True))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # One teacher, or the same one twice, says what it says; a weight of 0 silences one.
    for same in ([teachers[0]], [teachers[0]] * 2):
        np.testing.assert_allclose(
            softmax(mean_logits(same, [1 / len(same)] * len(same)), axis=1),
            softmax(teachers[0], axis=1),
            rtol=1e-5,
        )
    np.testing.assert_allclose(
        mean_logits(teachers[:2], [0.0, 1.0]), mean_logits(teachers[1:2], [1.0]), rtol=1e-6
    )


def test_sure_teachers_who_disagree_leave_finite_logits_and_values_are_averaged():
    sure = np.array([[300.0, -300.0]], dtype=np.float32)
    found = mean_logits([sure, -sure], [0.25, 0.75])
    np.testing.assert_allclose(softmax(found, axis=1), [[0.25, 0.75]], rtol=1e-6)
    assert np.isfinite(mean_logits([sure, sure], [0.5, 0.5])).all()
    values = [np.array([[1.0], [2.0]], dtype=np.float32), np.array([[3.0], [-2.0]], dtype=np.float32)]
    np.testing.assert_allclose(mean_logits(values, [0.75, 0.25]), [[1.5], [1.0]])


def test_the_mean_of_independent_classes_is_that_of_each():
    draw = np.random.default_rng(0)
    teachers = [4 * draw.normal(size=(7, 3)).astype(np.float32) for _ in range(2)]
    found = expit(mean_logits(teachers, [0.7, 0.3], multi_label=True))
    np.testing.assert_allclose(found, 0.7 * expit(teachers[0]) + 0.3 * expit(teachers[1]), rtol=1e-5)
    one = [teacher[:, :1] for teacher in teachers]
    np.testing.assert_allclose(expit(mean_logits(one, [0.7, 0.3], multi_label=True)), found[:, :1], rtol=1e-6)
    # Sure of everything, and sure of the opposite.
    sure = np.array([[300.0, -300.0]], dtype=np.float32)
    np.testing.assert_allclose(mean_logits([sure, sure], [0.5, 0.5], multi_label=True), sure, rtol=1e-6)
    assert expit(mean_logits([sure, -sure], [0.2, 0.8], multi_label=True)) == pytest.approx(
        np.array([[0.2, 0.8]]), rel=1e-6
    )
