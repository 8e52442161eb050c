"""A student's first weights, taken from another BERT of the same width.

- Truncated: the first k layers of a deeper model, with its embeddings and masked-LM head. Turc et al. 2019
  compare this initialisation with pre-training; followed by fine-tuning it is their TF.
- Layers spread over the source: one layer out of two in DistilBERT (Sanh et al. 2019, section 3).
- Word embeddings alone; everything else is random, as in a student that starts from nothing.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from wellread_hf.errors import SettingsError
from wellread_hf.models.bert_names import LAYER, layer_weight
from wellread_hf.students import BERT_DROPOUT, Student

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

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


def with_layers(source: "BertForMaskedLM", numbers: Sequence[int]) -> "BertForMaskedLM":
    """Builds a student of some layers of `source`, in this order; all its other weights are the source's.

    Args:
        source: The deeper model.
        numbers: Its layers to take, from 1.
    """
    from transformers import BertConfig, BertForMaskedLM

    fields = {name: value for name, value in source.config.to_dict().items() if name not in _OF_CLASSES}
    model = BertForMaskedLM(BertConfig(**(fields | {"num_hidden_layers": len(numbers)})))
    there = source.state_dict()

    def name_there(name: str) -> str:
        layer = LAYER.fullmatch(name)
        return layer_weight(numbers[int(layer[1])] - 1, layer[2]) if layer else name

    model.load_state_dict({name: there[name_there(name)] for name in model.state_dict()})
    return model


def with_word_embeddings(source: "BertForMaskedLM", student: Student, seed: int) -> "BertForMaskedLM":
    """Builds a student from random weights (`Student.fresh_config`) with the word embeddings of `source`.

    Raises:
        SettingsError: The two are not of one width.
    """
    import torch

    from wellread_hf.models.masked_lm import new_masked_lm

    check_width(source, student)
    model = new_masked_lm(student, source.config.vocab_size, BERT_DROPOUT, seed)
    with torch.no_grad():
        # The head's output matrix is the same tensor.
        model.bert.embeddings.word_embeddings.weight.copy_(source.bert.embeddings.word_embeddings.weight)
    return model


def check_width(source: "BertForMaskedLM", student: Student) -> None:
    """Refuses a source of another width than the student.

    Raises:
        SettingsError: It is.
    """
    if source.config.hidden_size != student.hidden:
        raise SettingsError(
            f"`student` {student}: expected a student as wide as the source, H = "
            f"{source.config.hidden_size}, got H = {student.hidden}; weights fit the same width alone, name "
            "another student or another source"
        )


def places(names: Iterable[str]) -> list[str]:
    """Shortens names of weights to the layers and modules they lie in, each once."""
    return sorted({".".join(name.split(".")[:4]) for name in names})
