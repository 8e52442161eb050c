"""A student's first weights, taken from another BERT; those of a smaller one that grows are in `grow`.

- Truncated: the first k layers of a deeper model, with its embeddings and masked-LM head. Turc et al. 2019
  compare this initialisation with pre-training; followed by fine-tuning it is their TF.
- Layers spread over the source: one layer out of two in DistilBERT (Sanh et al. 2019, section 3).
- Word embeddings alone; everything else is random, as in a student that starts from nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wellread_hf.errors import SettingsError
from wellread_hf.models.bert_names import LAYER, layer_weight
from wellread_hf.students import BERT_DROPOUT, HEAD_SIZE, STUDENTS, TOY_PART, Shape, Student, can_grow

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

    from wellread_hf.models.masked_lm import AnyBert

# What a classifier says of its classes; the student has none yet.
_OF_CLASSES = ("architectures", "id2label", "label2id", "num_labels", "problem_type")


def spread_layers(wanted: int, there: int) -> tuple[int, ...]:
    """Returns `wanted` of `there` layers by number, from 1, the first among them, as evenly as can be."""
    return tuple(1 + place * there // wanted for place in range(wanted))


def check_layers(numbers: Sequence[int], there: int) -> None:
    """Refuses numbers of layers that the source does not have.

    Raises:
        SettingsError: There is no layer of that number.
    """
    outside = [number for number in numbers if not 1 <= number <= there]
    if outside:
        raise SettingsError(
            f"expected layers of the source (`layers`, or as many as `student` has), 1 to {there}, got "
            f"{', '.join(map(str, outside))}; take fewer or other layers, or a deeper source"
        )


def new_like(source: "AnyBert", **changes: object) -> "AnyBert":
    """Builds a BERT of the class and the config of `source`, but for `changes` in its config."""
    from transformers import BertConfig

    fields = {name: value for name, value in source.config.to_dict().items() if name not in _OF_CLASSES}
    return type(source)(BertConfig(**(fields | changes)))


def with_layers(source: "AnyBert", numbers: Sequence[int]) -> "AnyBert":
    """Builds a student of some layers of `source`, in this order; all its other weights are the source's.

    Args:
        source: The other model.
        numbers: Its layers to take, from 1; one may be taken more than once.
    """
    model = new_like(source, num_hidden_layers=len(numbers))
    there = source.state_dict()

    def name_there(name: str) -> str:
        layer = LAYER.fullmatch(name)
        return layer_weight(numbers[int(layer[1])] - 1, layer[2]) if layer else name

    model.load_state_dict({name: there[name_there(name)] for name in model.state_dict()})
    return model


def with_word_embeddings(source: "BertForMaskedLM", student: Student, seed: int) -> "BertForMaskedLM":
    """Builds a student from random weights (`Student.fresh_config`) with the word embeddings of `source`.

    The two are of one width (`check_width`).
    """
    import torch

    from wellread_hf.models.masked_lm import new_masked_lm

    model = new_masked_lm(student, source.config.vocab_size, BERT_DROPOUT, seed)
    with torch.no_grad():
        # The head's output matrix is the same tensor.
        model.bert.embeddings.word_embeddings.weight.copy_(source.bert.embeddings.word_embeddings.weight)
    return model


def check_width(config: Mapping[str, Any], student: Student) -> None:
    """Refuses a source of another width than the student.

    Args:
        config: The source's config.json (`read_config`).
        student: What takes some of its layers.

    Raises:
        SettingsError: It is.
    """
    if config["hidden_size"] != student.hidden:
        raise SettingsError(
            f"`student` {student}: expected a student as wide as the source, H = "
            f"{config['hidden_size']}, got H = {student.hidden}; weights fit the same width alone, name "
            "another student or another source"
        )


def check_growth(config: Mapping[str, Any], student: Student, toy: bool) -> None:
    """Refuses a source that a student cannot grow from.

    Args:
        config: The source's config.json (`read_config`).
        student: What it is to grow to.
        toy: Both are toys of students.

    Raises:
        SettingsError: The source is as large, deeper or wider, or its layers are built otherwise.
    """
    layers, width = config["num_hidden_layers"], config["hidden_size"]
    head, inner = width // config["num_attention_heads"], config["intermediate_size"]
    part = TOY_PART if toy else 1
    heads = HEAD_SIZE // part
    if can_grow(Shape(layers, part * width), student) and head == heads and inner == 4 * width:
        return
    fit = ", ".join(smaller.name for smaller in STUDENTS if can_grow(smaller.shape, student))
    do = f"{'toys of ' * toy}{fit} would do" if fit else "none is smaller"
    raise SettingsError(
        f"`student` {student} cannot grow from this source: expected a smaller one, neither deeper nor "
        f"wider, with heads of {heads} and a feed-forward part of 4 H, got L = {layers}, H = {width}, heads "
        f"of {head} and a feed-forward part of {inner}; of the 24, {do}"
    )


def places(names: Iterable[str]) -> list[str]:
    """Shortens names of weights to the layers and modules they lie in, each once."""
    return sorted({".".join(name.split(".")[:4]) for name in names})
