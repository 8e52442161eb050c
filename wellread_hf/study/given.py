"""Students that others have pre-trained: found by a pattern, and refused where they are of another size."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wellread_hf.errors import SettingsError
from wellread_hf.graph import Stage, find
from wellread_hf.settings import Start
from wellread_hf.stages.comparing import shape_of
from wellread_hf.students import Shape, Student


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A pattern for models that lie somewhere.

    Attributes:
        option: The option that names it.
        pattern: Hub id or folder, filled in by `Student.fill_in`.
        runs: Where stages are.
        after: Stages that may make it.
    """

    option: str
    pattern: str
    runs: Path
    after: Sequence[Stage] = ()

    def like(self, student: Student) -> Start:
        """Returns the one for a student.

        Raises:
            SourceError: It is not there.
            SettingsError: It is of another size.
        """
        name, shape = self._found(student)
        if shape is not None and shape != student.shape:
            raise SettingsError(
                f"{self.option} {self.pattern}: expected {student.name}, {_told(student.shape)}, got "
                f"{_told(shape)}; put {{student}}, {{layers}}, {{hidden}} or {{heads}} into it, or name "
                "other --students"
            )
        return Start(weights=name)

    def deeper(self, student: Student, layers: int) -> Start:
        """Returns the one for a student of so many layers that a shallower one takes some of.

        Raises:
            SourceError: It is not there.
            SettingsError: It is not deeper, or of another width.
        """
        name, shape = self._found(Student(layers, student.hidden))
        if shape is not None and (shape.layers <= student.layers or shape.width != student.hidden):
            raise SettingsError(
                f"{self.option} {self.pattern}: expected more layers than {student.name} has and its width, "
                f"{student.hidden}, got {_told(shape)}; name a deeper one as wide ({{layers}} is filled in "
                "from --deep-layers)"
            )
        return Start(weights=name)

    def _found(self, student: Student) -> tuple[str, Shape | None]:
        name = student.fill_in(self.pattern)
        found = find(name, "model", self.option, self.runs, self.after)
        return name, shape_of(found, self.option, self.after)


def _told(shape: Shape) -> str:
    return f"{shape.layers} layers {shape.width} wide"
