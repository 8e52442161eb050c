"""Whether a live teacher fits the student that asks it in every step."""

from typing import Any

from wellread_hf.errors import LabelError
from wellread_hf.models.problems import Problem, inferred_problem
from wellread_hf.models.words import tags_words


def check_teacher(teacher: Any, student: Any, problem: Problem) -> None:
    """Refuses a teacher whose outputs or inputs are others than the student's.

    Args:
        teacher: A model of transformers.
        student: Another.
        problem: What the student learns.

    Raises:
        LabelError: They differ in kind, outputs, vocabulary, problem or the order of the classes.
    """
    if tags_words(teacher) != tags_words(student):
        raise LabelError(
            f"a live teacher must classify what the student does: expected {type(student).__name__}, got "
            f"{type(teacher).__name__}; take a teacher of this kind of task"
        )
    config = student.config
    for field in ("num_labels", "vocab_size"):
        ours, theirs = getattr(config, field, None), getattr(teacher.config, field, None)
        if ours != theirs:
            raise LabelError(
                f"a live teacher must have the student's {field}: expected {ours}, got {theirs}; use "
                "stored soft labels (wellread label), which match classes by name and tokenise apart"
            )
    known = teacher.config.problem_type or inferred_problem(teacher.config.num_labels)
    if known != problem:
        raise LabelError(
            f"a live teacher must have the student's problem_type: expected {problem}, got {known}"
            "; take a teacher of this kind of task, or where a config says nothing set problem_type in it"
        )
    ours, theirs = _class_names(config), _class_names(teacher.config)
    if ours and theirs and ours != theirs:
        raise LabelError(
            f"a live teacher must have the student's classes in their order: expected {', '.join(ours)}, "
            f"got {', '.join(theirs)}; use stored soft labels (wellread label), matched by name"
        )


def _class_names(config: Any) -> list[str]:
    """Returns a model's class names in order; none where transformers made them up."""
    names = [config.id2label.get(number) for number in range(config.num_labels)]
    return [] if names == [f"LABEL_{number}" for number in range(config.num_labels)] else names
