"""The 24 students: against really built models, the paper's table, and every way to write a name."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertForPreTraining, BertModel

from wellread_hf.errors import UnknownNameError
from wellread_hf.students import HIDDEN, LAYERS, STUDENTS, Student, parse_students

# Table 1a of the paper, millions of parameters as printed. 6/768 and 8/768 are truncated, not rounded.
PAPER = {
    2: (4.4, 9.7, 22.8, 39.2),
    4: (4.8, 11.3, 29.1, 53.4),
    6: (5.2, 12.8, 35.4, 67.5),
    8: (5.6, 14.4, 41.7, 81.7),
    10: (6.0, 16.0, 48.0, 95.9),
    12: (6.4, 17.6, 54.3, 110.1),
}
TRUNCATED = {(6, 768), (8, 768)}


def built(architecture, config):
    with torch.device("meta"):
        model = architecture(config)
    return sum(weights.numel() for weights in model.parameters())


@pytest.mark.parametrize("student", STUDENTS, ids=str)
def test_counts_are_those_of_the_built_models(student):
    assert student.parameters() == built(BertForPreTraining, student.config())
    assert student.encoder_parameters() == built(BertModel, student.config())


def test_counts_follow_the_vocabulary():
    student = Student(2, 128)
    assert student.parameters(8_000) == built(BertForPreTraining, student.config(8_000))
    assert student.encoder_parameters(8_000) == built(BertModel, student.config(8_000))


@pytest.mark.parametrize("student", STUDENTS, ids=str)
def test_counts_are_those_of_the_paper(student):
    printed = PAPER[student.layers][HIDDEN.index(student.hidden)]
    millions = student.parameters() / 1e6
    if (student.layers, student.hidden) in TRUNCATED:
        assert int(millions * 10) / 10 == printed
    else:
        assert round(millions, 1) == printed


def test_exact_counts_are_pinned():
    assert Student(2, 128).parameters() == 4_433_468
    assert Student(4, 256).parameters() == 11_267_900
    assert Student(4, 512).parameters() == 29_058_876
    assert Student(8, 512).parameters() == 41_668_412
    assert Student(12, 768).parameters() == 110_106_428
    assert Student(2, 128).encoder_parameters() == 4_385_920
    assert Student(12, 768).encoder_parameters() == 109_482_240


def test_there_are_24_in_the_order_of_the_table():
    pairs = [(student.layers, student.hidden) for student in STUDENTS]
    assert pairs == [(layers, hidden) for layers in LAYERS for hidden in HIDDEN]
    assert list(STUDENTS) == sorted(STUDENTS)
    assert len(set(STUDENTS)) == 24


@pytest.mark.parametrize("student", STUDENTS, ids=str)
def test_every_form_of_a_name_is_read(student):
    short = f"{student.layers}-{student.hidden}"
    zipped = f"uncased_L-{student.layers}_H-{student.hidden}_A-{student.hidden // 64}"
    for name in (short, f"bert-{short}", zipped, f"google/bert_{zipped}", student.name, student.release):
        assert Student.parse(name) == student


def test_the_five_aliases_are_the_papers():
    aliases = {"tiny": (2, 128), "mini": (4, 256), "small": (4, 512), "medium": (8, 512), "base": (12, 768)}
    for alias, (layers, hidden) in aliases.items():
        assert Student.parse(alias) == Student.parse(alias.upper()) == Student(layers, hidden)
        assert Student(layers, hidden).alias == alias
    assert sum(student.alias is None for student in STUDENTS) == 19


@pytest.mark.parametrize("name", ["5-300", "bert-5-300", "google/bert_uncased_L-5_H-300_A-4"])
def test_another_size_is_refused_with_the_nearest(name):
    with pytest.raises(UnknownNameError) as refusal:
        Student.parse(name)
    message = str(refusal.value)
    assert "expected one of the 24 students" in message
    assert repr(name) in message
    assert {"bert-4-256", "bert-6-256"} <= set(message.rpartition("nearest are ")[2].split(", "))


def test_a_made_size_is_refused_like_a_written_one():
    with pytest.raises(UnknownNameError, match="got '5-300'; the nearest are bert-"):
        Student(5, 300)


def test_a_release_with_the_wrong_number_of_heads_is_refused():
    with pytest.raises(UnknownNameError, match=r"A-8.*bert-4-256"):
        Student.parse("google/bert_uncased_L-4_H-256_A-8")


@pytest.mark.parametrize(
    ("name", "meant"), [("minni", "mini"), ("bert-4-256x", "bert-4-256"), ("Smal", "small")]
)
def test_a_mistyped_name_is_refused_with_the_nearest(name, meant):
    with pytest.raises(UnknownNameError) as refusal:
        Student.parse(name)
    assert str(refusal.value).endswith(f"the nearest is {meant}")


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.one_of(st.text(), st.from_regex(r"(bert-)?\d{1,6}-\d{1,6}", fullmatch=True)))
def test_any_text_is_one_of_the_24_or_refused(name):
    try:
        student = Student.parse(name)
    except UnknownNameError:
        return
    assert student in STUDENTS


def test_config_is_googles_own():
    config = Student(4, 256).config()
    fields = {
        "vocab_size": 30_522,
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "hidden_act": "gelu",
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    }
    assert {name: getattr(config, name) for name in fields} == fields


def test_changes_replace_fields_of_the_config():
    config = Student(2, 128).config(1_000, initializer_range=0.5, hidden_dropout_prob=0.0)
    assert (config.vocab_size, config.initializer_range, config.hidden_dropout_prob) == (1_000, 0.5, 0.0)


def test_words_select_all_a_width_or_a_depth_each_student_once():
    names = tuple(student.name for student in STUDENTS)
    assert parse_students(["all"]) == names
    assert parse_students(["h=128"]) == tuple(f"bert-{layers}-128" for layers in LAYERS)
    assert parse_students(["L=2"]) == tuple(f"bert-2-{hidden}" for hidden in HIDDEN)
    assert parse_students(["tiny", "mini"]) == ("tiny", "mini")
    found = parse_students(["mini", "h=256", "l=4"])
    assert found[0] == "mini"
    assert len(set(map(Student.parse, found))) == len(found) == 6 + 4 - 1
    # A mistake, which settings refuse.
    assert parse_students(["mini", "4-256"]) == ("mini", "4-256")


@pytest.mark.parametrize(
    ("word", "answer"),
    [("h=129", "h=128"), ("l=5", "l=4"), ("al", "all"), ("h128", "h=128"), ("5-128", "bert-4-128")],
)
def test_a_word_that_selects_nothing_is_answered_with_what_is_near(word, answer):
    with pytest.raises(UnknownNameError, match=answer):
        parse_students([word])


@pytest.mark.parametrize("student", STUDENTS, ids=str)
def test_a_toy_has_the_layers_and_heads_of_its_student_and_a_sixteenth_of_the_width(student):
    toy, whole = student.fresh_config(100, toy=True), student.fresh_config(100)
    assert (toy.num_hidden_layers, toy.num_attention_heads) == (student.layers, student.heads)
    assert (16 * toy.hidden_size, 16 * toy.intermediate_size) == (student.hidden, 4 * student.hidden)
    for config in (toy, whole):
        sizes = config.num_hidden_layers, config.hidden_size, config.num_attention_heads
        assert Student.of_model(*sizes) == student
