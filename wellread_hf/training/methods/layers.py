"""Which layer of the student is compared with which of the teacher, both counted from 1."""

from collections.abc import Sequence

from wellread_hf.errors import LabelError, SettingsError


def layer_pairs(layers: Sequence[str], student: int, teacher: int) -> tuple[tuple[int, int], ...]:
    """Pairs layers of a student with layers of its teacher.

    Args:
        layers: `skip`, `last`, or pairs `STUDENT:TEACHER`, as in `Objective.layers`.
        student: Layers of the student, S.
        teacher: Layers of the teacher, T.

    Sun et al. 2019, section 3, for S = 6 and T = 12: `skip` pairs 1..5 with 2, 4, 6, 8, 10, `last` with
    7..11. The last layer is left out, since the soft labels speak for it. Other depths: `skip` pairs layer j
    with floor(j · T / S), `last` with T - S + j.

    Raises:
        SettingsError: A layer is not there; or for `skip` and `last` the teacher has fewer layers than the
            student, or the student has one.
    """
    word = layers[0]
    if word not in ("skip", "last"):
        pairs = tuple((int(ours), int(theirs)) for ours, theirs in (pair.split(":") for pair in layers))
        for ours, theirs in pairs:
            if not (1 <= ours <= student and 1 <= theirs <= teacher):
                raise SettingsError(
                    f"`objective.layers` {ours}:{theirs}: expected a layer of the student, 1 to {student}, "
                    f"and one of the teacher, 1 to {teacher}; name layers that are there"
                )
        return pairs
    if teacher < student:
        raise SettingsError(
            f"`objective.layers` {word} pairs each layer of the student with one of its own of the teacher, "
            f"but the student has {student} layers and the teacher {teacher}; name pairs instead, e.g. "
            f"`objective.layers` {student}:{teacher}"
        )
    if student == 1:
        raise SettingsError(
            f"`objective.layers` {word} leaves out the last layer, and the student has one; name a pair "
            f"instead, e.g. `objective.layers` 1:{teacher}"
        )
    return tuple(
        (layer, layer * teacher // student if word == "skip" else teacher - student + layer)
        for layer in range(1, student)
    )


def student_layers(layers: Sequence[str], student: int) -> tuple[int, ...]:
    """Returns the student's side of the map, which is the same for every teacher that has enough layers.

    Raises:
        SettingsError: As from `layer_pairs`.
    """
    deepest = max((int(pair.split(":")[1]) for pair in layers if ":" in pair), default=student)
    return tuple(ours for ours, _ in layer_pairs(layers, student, deepest))


def check_widths(student: int, teacher: int) -> None:
    """Refuses [CLS] states of different widths.

    Raises:
        LabelError: They differ.
    """
    if student != teacher:
        raise LabelError(
            f"the student's [CLS] states have {student} numbers, the teacher's {teacher}, and they are "
            "compared number by number; learn a projection (`objective.projection`), or take a student "
            f"of width {teacher}"
        )
