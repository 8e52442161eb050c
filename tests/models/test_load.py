"""Loading models: fp32 from safetensors, heads by name and seed, no foreign code, one-sentence errors."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from wellread_hf.errors import LabelError, SettingsError, SourceError, TokenizerError
from wellread_hf.models.load import (
    check_fit,
    load_classifier,
    load_masked_lm,
    load_tokenizer,
    new_classifier,
)
from wellread_hf.store.stage import Location
from wellread_hf.students import Student

WORDS = 150
LABELS = ("negative", "positive")


def at(folder, field="start.weights"):
    return Location(name=str(folder), revision=None, fingerprint="any", field=field)


@pytest.fixture(scope="module")
def masked_lm(tmp_path_factory):
    """A pre-trained encoder with its masked-LM head, in half precision as many on the Hub."""
    folder = tmp_path_factory.mktemp("masked_lm")
    torch.manual_seed(0)
    BertForMaskedLM(Student(2, 128).config(WORDS)).half().save_pretrained(folder)
    return folder


@pytest.fixture
def classifier(tmp_path):
    folder = tmp_path / "classifier"
    new_classifier(Student(2, 128), WORDS, LABELS, seed=0).save_pretrained(folder)
    return folder


def weights(model):
    return {name: values.clone() for name, values in model.state_dict().items()}


def same(one, other, prefix=""):
    names = [name for name in one if name.startswith(prefix)]
    assert names
    return all(torch.equal(one[name], other[name]) for name in names)


def test_a_masked_lm_is_loaded_in_fp32_with_the_stored_weights(masked_lm):
    loaded = load_masked_lm(at(masked_lm))
    stored = BertForMaskedLM.from_pretrained(masked_lm, dtype=torch.float32)
    assert type(loaded) is BertForMaskedLM
    assert loaded.dtype == torch.float32
    assert same(weights(loaded), weights(stored))


def test_a_new_head_follows_the_seed_and_the_trunk_the_source(masked_lm):
    first, again, other = (load_classifier(at(masked_lm), LABELS, seed=seed) for seed in (1, 1, 2))
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(other), "classifier.weight")
    trunk = BertModel.from_pretrained(masked_lm, dtype=torch.float32, add_pooling_layer=False)
    assert same(weights(trunk), {name.removeprefix("bert."): w for name, w in weights(first).items()})
    assert first.dtype == torch.float32


@pytest.mark.parametrize("labels", [("a", "b", "c"), LABELS, ()])
def test_the_head_is_the_tasks(masked_lm, labels):
    for model in (
        load_classifier(at(masked_lm), labels, seed=0),
        new_classifier(Student(2, 128), WORDS, labels, seed=0),
    ):
        assert model.classifier.out_features == model.config.num_labels == max(1, len(labels))
        if labels:
            assert model.config.problem_type == "single_label_classification"
            assert model.config.id2label == dict(enumerate(labels))
            assert model.config.label2id == {label: index for index, label in enumerate(labels)}
        else:
            assert model.config.problem_type == "regression"


def test_a_head_of_another_size_is_replaced(classifier):
    model = load_classifier(at(classifier), ("a", "b", "c"), seed=0)
    assert model.classifier.out_features == 3
    source = BertForSequenceClassification.from_pretrained(classifier)
    assert same(weights(source), weights(model), "bert.")


def test_a_trained_head_of_the_right_size_is_kept(classifier):
    source = weights(BertForSequenceClassification.from_pretrained(classifier))
    assert same(source, weights(load_classifier(at(classifier), LABELS, seed=5)))
    assert same(source, weights(load_classifier(at(classifier))))


def test_new_students_follow_the_seed():
    first, again, other = (weights(new_classifier(Student(2, 128), WORDS, LABELS, s)) for s in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)


def test_the_real_teacher_is_loaded(shared):
    model = load_classifier(at(shared / "models" / "minilm-l6-sst2"))
    assert model.config.num_labels == 2
    assert model.dtype == torch.float32


def refused(load, folder):
    with pytest.raises(SourceError) as refusal:
        load(at(folder))
    message = str(refusal.value)
    assert message.startswith(f"`start.weights` {folder}: cannot be loaded as a ")
    assert "(safetensors only)" in message
    assert "\n" not in message
    return message


SPOILT = [
    ({"intermediate_size": 64}, "intermediate.dense.bias is [512], expected [64] (and 5 others)"),
    ({"vocab_size": WORDS + 1}, "word_embeddings.weight is [150, 128], expected [151, 128]"),
    ({"hidden_size": 64}, "LayerNorm.bias is [128], expected [64] (and "),
    ({"max_position_embeddings": 100}, "position_embeddings.weight is [512, 128], expected [100, 128]"),
    ({"type_vocab_size": 3}, "token_type_embeddings.weight is [2, 128], expected [3, 128]"),
    (
        {"num_hidden_layers": 3},
        "they lack bert.encoder.layer.2.attention.output.LayerNorm.bias (and 15 others)",
    ),
    ({"num_hidden_layers": 1}, "they also have bert.encoder.layer.1.attention.output.LayerNorm.bias (and 15"),
]


@pytest.mark.parametrize(("change", "words"), SPOILT, ids=[next(iter(change)) for change, _ in SPOILT])
@pytest.mark.parametrize("labels", ["masked LM", None, LABELS], ids=["masked LM", "teacher", "start"])
def test_weights_that_are_not_the_configs_are_refused_by_name(masked_lm, tmp_path, change, words, labels):
    for file in masked_lm.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))

    def load(at):
        return load_masked_lm(at) if labels == "masked LM" else load_classifier(at, labels)

    assert words in refused(load, tmp_path)


def integers(stored):
    return {name: (100 * values).to(torch.int8) for name, values in stored.items()}


def not_a_number(stored):
    stored["bert.encoder.layer.1.output.dense.weight"][3, 4] = float("nan")
    return stored


@pytest.mark.parametrize("sharded", [False, True], ids=["whole", "sharded"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (integers, "expected weights that are floating-point numbers, got "),
        (not_a_number, "NaN or infinite ones in bert.encoder.layer.1.output.dense.weight"),
    ],
)
@pytest.mark.parametrize("labels", [None, LABELS], ids=["teacher", "start"])
def test_weights_that_are_no_numbers_are_refused(classifier, change, words, labels, sharded):
    if sharded:
        model = BertForSequenceClassification.from_pretrained(classifier)
        (classifier / "model.safetensors").unlink()
        model.save_pretrained(classifier, max_shard_size="400KB")
    for file in classifier.glob("model*.safetensors"):
        stored = load_file(file)
        if change is integers or "bert.encoder.layer.1.output.dense.weight" in stored:
            save_file(change(stored), file, {"format": "pt"})
    assert words in refused(lambda at: load_classifier(at, labels, 0), classifier)


def test_an_adapter_that_is_not_finite_is_refused(adapter):
    folder, _ = adapter
    file = folder / "adapter_model.safetensors"
    save_file({name: values * float("nan") for name, values in load_file(file).items()}, file)
    assert "NaN or infinite ones in bert.encoder.layer.0" in refused(load_classifier, folder)


def test_layers_that_a_file_lacks_or_has_beside_those_of_the_config_are_refused_without_a_prefix_too(
    tmp_path,
):
    """A `BertModel` is saved without the encoder's name."""
    BertModel(Student(2, 128).config(WORDS)).save_pretrained(tmp_path)
    assert load_classifier(at(tmp_path), LABELS, 0).config.num_hidden_layers == 2
    config = json.loads((tmp_path / "config.json").read_text())
    for layers, words in ((1, "also have"), (3, "they lack")):
        (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": layers}))
        assert words in refused(lambda at: load_classifier(at, LABELS, 0), tmp_path)


@pytest.mark.parametrize(
    "kind", ["Albert", "Bart", "DebertaV2", "DistilBert", "Electra", "GPT2", "Roberta", "T5", "XLNet"]
)
def test_an_encoder_of_any_family_starts_a_classifier_and_half_of_one_does_not(kind, tmp_path):
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    if kind in ("Bart", "T5"):
        sizes = {"vocab_size": 50, "d_model": 16, "num_layers": 2, "encoder_layers": 2, "decoder_layers": 2}
    if kind == "XLNet":
        sizes = {"vocab_size": 50, "d_model": 16, "n_layer": 2, "n_head": 2}
    config = getattr(transformers, f"{kind}Config")(**sizes)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(tmp_path)
    assert load_classifier(at(tmp_path), ("a", "b", "c"), 0).config.num_labels == 3
    stored = load_file(tmp_path / "model.safetensors")
    (dropped, *_) = [name for name in stored if ".1." in name or "albert_layers.0" in name]
    save_file(
        {name: w for name, w in stored.items() if name != dropped},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    message = refused(lambda at: load_classifier(at, LABELS, 0), tmp_path)
    assert f"they lack {dropped}" in message.replace(f"{base_of(kind)}.", "")


def base_of(kind):
    return getattr(transformers, f"{kind}ForSequenceClassification").base_model_prefix


def test_a_package_that_is_not_there_is_named(classifier):
    config = json.loads((classifier / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (classifier / "config.json").write_text(json.dumps(config))
    assert "bitsandbytes" in refused(load_classifier, classifier)


@pytest.fixture
def adapter(classifier, tmp_path):
    """A LoRA adapter of a classifier, and the logits of the two."""
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(task_type=TaskType.SEQ_CLS, r=2, target_modules=["query"], init_lora_weights=False)
    torch.manual_seed(3)
    adapted = get_peft_model(BertForSequenceClassification.from_pretrained(classifier), config).eval()
    adapted.save_pretrained(str(tmp_path / "adapter"))
    return tmp_path / "adapter", adapted(torch.arange(5, 20)[None]).logits


@pytest.mark.parametrize("labels", [None, LABELS], ids=["teacher", "start"])
def test_an_adapter_is_merged_into_the_model_that_it_belongs_to(adapter, labels):
    folder, logits = adapter
    model = load_classifier(at(folder), labels, 0)
    assert type(model) is BertForSequenceClassification
    assert all(weights.requires_grad for weights in model.parameters())
    torch.testing.assert_close(model.eval()(torch.arange(5, 20)[None]).logits, logits)


def test_an_adapter_without_its_weights_or_its_model_is_refused(adapter, classifier):
    folder, _ = adapter
    stored = load_file(folder / "adapter_model.safetensors")
    whole = dict(stored)
    del stored[min(name for name in stored if "lora_A" in name)]
    save_file(stored, folder / "adapter_model.safetensors", {"format": "pt"})
    assert "missing adapter keys" in refused(load_classifier, folder)
    save_file(whole, folder / "adapter_model.safetensors", {"format": "pt"})
    (classifier / "config.json").unlink()
    with pytest.raises(
        SourceError, match=r"`start.weights` .*loaded as a classifier for the adapter .*adapter "
    ):
        load_classifier(at(folder))
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(SourceError, match="expected the weights of an adapter"):
        load_classifier(at(folder))


def test_a_head_that_is_neither_in_the_adapter_nor_in_its_model_is_refused(masked_lm, tmp_path):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["query"])
    get_peft_model(BertForSequenceClassification.from_pretrained(masked_lm), config).save_pretrained(
        str(tmp_path)
    )
    with pytest.raises(LabelError, match=r"no weights for bert\.pooler\.dense\.bias, .*classifier"):
        load_classifier(at(tmp_path))


@pytest.mark.parametrize("load", [load_masked_lm, load_classifier])
def test_a_models_own_code_is_not_run_unless_asked_for(classifier, load, tmp_path):
    ran = tmp_path / "ran"
    (classifier / "own.py").write_text(
        f"open({str(ran)!r}, 'w').close()\n"
        "from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification\n"
        "class Config(BertConfig):\n    model_type = 'own'\n"
        "class Mlm(BertForMaskedLM):\n    config_class = Config\n"
        "class Classifier(BertForSequenceClassification):\n    config_class = Config\n"
    )
    config = json.loads((classifier / "config.json").read_text()) | {
        "model_type": "own",
        "auto_map": {
            "AutoConfig": "own.Config",
            "AutoModelForMaskedLM": "own.Mlm",
            "AutoModelForSequenceClassification": "own.Classifier",
        },
    }
    (classifier / "config.json").write_text(json.dumps(config))
    with pytest.raises(SourceError) as refusal:
        load(at(classifier))
    assert str(refusal.value).startswith(f"`start.weights` {classifier}: ")
    assert "`trust_remote_code`" in str(refusal.value)
    assert not ran.exists()
    # The guard is what kept the code from running: with leave it does.
    assert load(at(classifier), trust_remote_code=True).config.model_type == "own"
    assert ran.exists()


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    assert "tokenizer" in refused(load_tokenizer, tmp_path)


def test_a_model_without_its_vocabulary_has_no_tokenizer(masked_lm):
    with pytest.raises(SourceError, match=r"expected a vocabulary .*, found none; name a tokenizer"):
        load_tokenizer(at(masked_lm))


def test_a_broken_tokenizer_is_refused(toy_folder, tmp_path):
    for file in (toy_folder / "tokenizer").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[:40])
    refused(load_tokenizer, tmp_path)


def test_a_tokenizer_file_that_lacks_its_parts_is_refused(tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text("{}")
    refused(load_tokenizer, tmp_path)


def test_the_toy_tokenizer_is_loaded_as_it_lies(toy_folder, toy_tokenizer):
    loaded = load_tokenizer(at(toy_folder / "tokenizer"))
    assert loaded.get_vocab() == toy_tokenizer.get_vocab()
    assert loaded.is_fast


def test_a_tokenizer_larger_than_the_embedding_is_refused(toy_tokenizer):
    words = len(toy_tokenizer)
    check_fit(new_classifier(Student(2, 128), words, LABELS, 0), toy_tokenizer, max_length=512)
    with pytest.raises(TokenizerError) as refusal:
        check_fit(new_classifier(Student(2, 128), words - 1, LABELS, 0), toy_tokenizer, max_length=128)
    message = str(refusal.value)
    assert f"expected a tokenizer of at most {words - 1} words" in message
    assert f"with {words};" in message
    assert "take the tokenizer that belongs to the model" in message


def test_a_word_beyond_the_embedding_is_refused_however_few_there_are():
    tokenizer = BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 9})
    check_fit(new_classifier(Student(2, 128), 10, LABELS, 0), tokenizer, max_length=512)
    with pytest.raises(TokenizerError, match="with 10;"):
        check_fit(new_classifier(Student(2, 128), 9, LABELS, 0), tokenizer, max_length=512)


def test_texts_longer_than_the_models_positions_are_refused_by_the_option(toy_tokenizer):
    model = new_classifier(Student(2, 128), len(toy_tokenizer), LABELS, 0)
    with pytest.raises(
        SettingsError, match=r"`max_length` 513 is longer than the model's 512 .*; give at most 512"
    ):
        check_fit(model, toy_tokenizer, max_length=513)


def test_positions_that_stand_for_padding_are_not_counted(toy_tokenizer):
    model = RobertaForSequenceClassification(
        RobertaConfig(
            vocab_size=len(toy_tokenizer),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=34,
        )
    )
    check_fit(model, toy_tokenizer, max_length=32)
    model(input_ids=torch.full((1, 32), 5))
    with pytest.raises(SettingsError, match="longer than the model's 32 positions"):
        check_fit(model, toy_tokenizer, max_length=33)
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, 33), 5))
