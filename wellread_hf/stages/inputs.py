"""What stages read: places, corpora and tasks, fingerprinted before anything runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, fields, replace
from typing import Any

from wellread_hf.data.corpus import Source, check_rows, is_pending
from wellread_hf.errors import SettingsError
from wellread_hf.settings import Running, Task
from wellread_hf.stages.toy import is_toy, toy_location, toy_source, toy_task
from wellread_hf.store.graph import disk_errors_reported
from wellread_hf.store.places import locate
from wellread_hf.store.records import MEMORY
from wellread_hf.store.stage import Location, Place, RepoType, Stage


def find(
    place: Place, repo_type: RepoType, field: str, running: Running, revision: str | None = None
) -> Location:
    """Finds an input: a path, a Hub id, a place of the toy world, or what a stage makes.

    Args:
        place: Where it lies.
        repo_type: `model` or `dataset`.
        field: The setting that named it, for errors.
        running: Where stages lie.
        revision: Branch, tag or commit on the Hub.

    Raises:
        SourceError: There is no such path, and no such repository on the Hub or no way to it.
        UnknownNameError: The toy world has no such place.
    """
    if isinstance(place, Stage):
        return place.at(field=field, repo_type=repo_type)
    if isinstance(place, Location):
        return replace(place, field=field)
    if is_toy(place):
        return replace(toy_location(place, running.runs), field=field, repo_type=repo_type)
    # Digests of large files are remembered in the folder of runs, which may be full or read-only.
    with disk_errors_reported(running.runs):
        return locate(place, repo_type, field, revision, memory=running.runs / MEMORY)


def identity_of(settings: Any, later: Sequence[str]) -> dict[str, Any]:
    """Returns what of a stage's settings decides its result.

    Fields that came `later` are left out at their defaults, so that digests stay what they were before them.
    """
    known = {field.name: field for field in fields(settings)}
    # Stored digests are of the fields that there were then.
    unsaid = {name for name in later if getattr(settings, name) == _default(known[name])}
    said = {name: value for name, value in asdict(settings).items() if name not in unsaid}
    # On two machines `auto` may be two things. Of these fp32 keeps that word: so it has been stored.
    if "optim" in said and settings.optim.bf16:
        said["optim"]["precision"] = "bf16"
    return said


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


class Sources:
    """Text of several places, found: the sources of a corpus or of a transfer set.

    Args:
        specs: Each a place with its options, as `Source.parse` reads it, or what a stage makes.
        field: The setting that named them, for errors.
        running: Where stages lie.
    """

    def __init__(self, specs: Sequence[str | Location], field: str, running: Running) -> None:
        self.found: list[tuple[Source, Location]] = []
        for spec in specs:
            if isinstance(spec, Location):
                source, place = Source(name=spec.name), spec
            else:
                source = toy_source(Source.parse(spec))
                place = find(source.name, "dataset", field, running, source.revision)
            self.found.append((source, place))

    @property
    def locations(self) -> list[Location]:
        """Where the text lies."""
        return [location for _, location in self.found]

    @property
    def identity(self) -> list[dict[str, Any]]:
        """What decides the text: content and choice of rows, not where they lie."""
        return [
            identity_of(source, later=("rows",)) | {"name": at.fingerprint, "revision": at.revision}
            for source, at in self.found
        ]

    def texts(self, tagging: bool = False) -> Iterator[tuple[str, ...]]:
        """Streams the rows of all sources, one source after another; for `tagging` their words."""
        from wellread_hf.data.tags import words_in

        for source, location in self.found:
            yield from words_in(source, location) if tagging else source.texts(location)

    def check(self) -> None:
        """Refuses sources whose first rows cannot be used; those of a stage that has yet to run pass.

        Raises:
            DataError: A column is missing, or a row is no text.
        """
        for source, location in self.found:
            check_rows(source, location)


class FoundTask:
    """A task's data set, found.

    Attributes:
        task: The task; a place of the toy world is replaced by its files, columns and classes.
        locations: Of the data set, or of its files in the order train, validation, test.
    """

    def __init__(self, task: Task, running: Running) -> None:
        from wellread_hf.data.task_facts import task_home

        self.task = task = toy_task(task)
        named = {"data": task_home(task), "validation": task.validation, "test": task.test}
        self.locations = [
            find(name, "dataset", f"task.{field}", running, task.revision)
            for field, name in named.items()
            if name is not None
        ]

    @property
    def is_pending(self) -> bool:
        """Whether an earlier stage has yet to make its rows."""
        return any(map(is_pending, self.locations))

    def load(self) -> Any:
        """Reads the rows: a `LoadedTask`."""
        from wellread_hf.data.rows import load_task

        return load_task(self.task, self.locations)

    def check(self) -> None:
        """Refuses a task whose rows cannot be used; one that a stage has yet to make passes.

        Raises:
            DataError: A file, split or column is missing, a row is no text, or there are too few to draw.
            LabelError: A label is missing or none of the classes.
        """
        from wellread_hf.data.draws import draw_rows
        from wellread_hf.data.task_facts import facts_of

        if self.is_pending:
            facts_of(self.task)
            return
        draw_rows(self.load().train, self.task)

    def identity(self, uses_labels: bool = True, chooses: bool = True) -> Mapping[str, Any]:
        """Returns what decides the task's rows, and the metric where it `chooses` something.

        Without its labels it does not matter how many are drawn.
        """
        task = self.task if uses_labels else replace(self.task, train_rows=None, train_seed=0)
        task = task if chooses else replace(task, metric=None)
        places = {"data": None, "validation": task.validation is not None, "test": task.test is not None}
        # Where the data lies does not matter, only what it says.
        content = {"content": [location.fingerprint for location in self.locations]}
        return identity_of(task, later=("multi_label", "metric", "tagging")) | places | content

    @property
    def version(self) -> int:
        """The version of a stage that trains for the task's classes, or labels with them."""
        from wellread_hf.data.task_facts import finds_classes

        # In version 1 classes were all numbers up to the largest one, and the numbers of those with names.
        return 2 if finds_classes(self.task) else 1


def refuse_tagging(task: Task, why: str) -> None:
    """Refuses a task whose words have a class each, where only texts are known.

    Raises:
        SettingsError: It is one.
    """
    if task.tagging:
        raise SettingsError(f"`task.tagging`: {why}, and not yet for their words; take another task")


def reading_version(*models: Location | None) -> int:
    """Returns what the version of a stage that reads texts with these models is raised by.

    What was wrong before, weights that did not fit their config and input that the config did not decide,
    was so with models from elsewhere; our own stages save a BERT and its tokenizer.
    """
    others = any(model is not None and not model.fingerprint.startswith("stage:") for model in models)
    return 2 if others else 0
