"""Places of the toy world, e.g. `toy:corpus`: a third kind beside folders and Hub ids.

`toy:NAME` lies in the world of the default sizes, `toy:NAME@smoke` in one that is written in seconds.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from wellread_hf.data.corpus import Source
from wellread_hf.data.toy.domains import write_toy_domains
from wellread_hf.data.toy.glue import write_toy_glue
from wellread_hf.data.toy.tags import TAG_NAMES, write_toy_tags
from wellread_hf.data.toy.world import LABEL_NAMES, SMOKE_WORLD, ToyWorldSettings, write_toy_world
from wellread_hf.errors import UnknownNameError, nearest
from wellread_hf.settings import Task
from wellread_hf.store.stage import Location, Stage
from wellread_hf.students import Student
from wellread_hf.tasks import GLUE_TASKS

SCHEME = "toy:"
TOY = "toy"
TOY_TAGS = "toy-tags"
_SIZES = {
    "": ToyWorldSettings(),
    "smoke": SMOKE_WORLD,
}
_SPLITS = ("train", "validation", "test")
# Files of the world's stage and of the one with text of other domains.
_WORLD = {
    "corpus": "corpus.txt",
    "tokenizer": "tokenizer",
    "pool": "pool.jsonl",
    **{f"task/{split}": f"task/{split}.jsonl" for split in _SPLITS},
}
_DOMAINS = {"near": "near.jsonl", "far": "far.jsonl"}
_TAGS = {**{f"tags/{split}": f"{split}.conll" for split in _SPLITS}, "tags/pool": "pool.txt"}
# The column of their texts.
_SENTENCES = ("pool", *_DOMAINS)
# Models have the size of the smallest student and random weights: they show that a path works.
_MODELS = ("encoder", "teacher", *(f"teacher/{task}" for task in (*GLUE_TASKS, "tags")), "release")
_PLACES = (*_WORLD, *_DOMAINS, *_TAGS, "glue", *_MODELS)


def is_toy(place: str | None) -> bool:
    """Returns whether a place lies in the toy world."""
    return place is not None and place.startswith(SCHEME)


def toy_location(place: str, runs: Path) -> Location:
    """Returns the location of a place of the toy world, and with it the stage that makes it.

    Args:
        place: `toy:NAME` or `toy:NAME@smoke`.
        runs: Folder of all stages.

    Raises:
        UnknownNameError: There is no such place; the message gives the nearest.
    """
    name, size = _parse(place)
    if name in _WORLD:
        return _world(size, runs).at(_WORLD[name])
    if name in _DOMAINS:
        return _domains(size, runs).at(_DOMAINS[name])
    if name in _TAGS:
        return _tags(size, runs).at(_TAGS[name])
    if name == "glue":
        return _glue(size, runs).at()
    if name in _MODELS:
        return _model(name, size, runs).at()
    raise UnknownNameError(
        f"expected a place of the toy world, toy: and one of {', '.join(_PLACES)}, got {place!r}; the "
        f"nearest is {SCHEME}{nearest(name, _PLACES, 1)}"
    )


def toy_task(task: Task) -> Task:
    """Replaces `toy:task` and `toy:tags` by their files, columns and classes.

    Tasks named `toy` and `toy-tags` have them anyway.
    """
    if task.name in (TOY, TOY_TAGS) and task.data is None:
        task = replace(task, data=SCHEME + ("task" if task.name == TOY else "tags"))
    if task.data is None or not is_toy(task.data) or _parse(task.data)[0] not in ("task", "tags"):
        return task
    name = _parse(task.data)[0]
    train, validation, test = (task.data.replace(f":{name}", f":{name}/{split}") for split in _SPLITS)
    found = replace(task, data=train, validation=validation, test=test)
    if name == "tags":
        return replace(found, tagging=True, labels=TAG_NAMES)
    return replace(found, columns=("sentence",), labels=LABEL_NAMES)


def toy_source(source: Source) -> Source:
    """Names the column of a source that lies in the toy world, where none is named."""
    named = is_toy(source.name) and _parse(source.name)[0] in _SENTENCES and source.columns == ("text",)
    return replace(source, columns=("sentence",)) if named else source


def _parse(place: str) -> tuple[str, str]:
    name, _, size = place.removeprefix(SCHEME).partition("@")
    if size not in _SIZES:
        raise UnknownNameError(
            f"{place}: expected toy:NAME for the whole toy world or toy:NAME@smoke for a tiny one, got "
            f"@{size}"
        )
    return name, size


# The same stage however often it is named: its digest is computed once.
@cache
def _world(size: str, runs: Path) -> Stage:
    settings = _SIZES[size]

    def work(stage: Stage) -> Mapping[str, Any]:
        write_toy_world(stage.folder, settings)
        return {}

    return Stage(
        kind="toyworld",
        name=f"seed{settings.seed}",
        root=runs,
        identity={"settings": settings},
        work=work,
        solo=True,
    )


@cache
def _tags(size: str, runs: Path) -> Stage:
    return _beside("toytags", size, runs, lambda folder, _: write_toy_tags(folder, _SIZES[size]))


@cache
def _glue(size: str, runs: Path) -> Stage:
    return _beside("toyglue", size, runs, write_toy_glue)


@cache
def _domains(size: str, runs: Path) -> Stage:
    return _beside(
        "toydomains", size, runs, lambda folder, task: write_toy_domains(folder, _SIZES[size], task)
    )


def _beside(kind: str, size: str, runs: Path, write: Callable[[Path, Path], Any]) -> Stage:
    """Builds a stage that writes files beside the world's; `write` gets its folder and the world's task."""
    world = _world(size, runs)
    return Stage(
        kind=kind,
        name=world.name,
        root=runs,
        identity={"world": world.digest},
        inputs=[world],
        work=lambda stage: write(stage.folder, world.folder / "task"),
        solo=True,
    )


@cache
def _model(name: str, size: str, runs: Path) -> Stage:
    """Builds the stage that saves a model with random weights.

    `encoder` is a masked LM, `teacher` a classifier of the toy task or of one of GLUE's, and `release` lies
    as Google's checkpoints do: a bare config, `vocab.txt`, a next-sentence head.
    """
    # The smallest of the 24: a path is shown, nothing is learnt.
    world, student = _world(size, runs), Student(2, 128)

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.models.load import load_tokenizer, new_classifier
        from wellread_hf.models.masked_lm import new_masked_lm, new_pretraining
        from wellread_hf.models.save import save_model
        from wellread_hf.students import BERT_DROPOUT

        tokenizer = load_tokenizer(world.at("tokenizer"))
        words = tokenizer.get_vocab()
        # As Google's files lie: no tokenizer.json, no architectures, so that adopting has its work to do.
        if name == "release":
            lines = "".join(f"{word}\n" for word in sorted(words, key=words.__getitem__))
            (stage.folder / "vocab.txt").write_text(lines)
            new_pretraining(student, len(words), BERT_DROPOUT, seed=0).save_pretrained(stage.folder)
            bare = json.loads((stage.folder / "config.json").read_text())
            del bare["architectures"]
            (stage.folder / "config.json").write_text(json.dumps(bare))
            return {}
        if name == "encoder":
            model: Any = new_masked_lm(student, len(words), BERT_DROPOUT, seed=0)
        else:
            task = name.partition("/")[2]
            own = {"": LABEL_NAMES, "tags": TAG_NAMES}
            classes = own[task] if task in own else GLUE_TASKS[task].labels
            model = new_classifier(student, len(words), classes, 0, tagging=task == "tags")
        save_model(model, tokenizer, stage.folder)
        return {}

    return Stage(
        kind="release" if name == "release" else "toymodel",
        name=student.name if name == "release" else name.replace("/", "-"),
        root=runs,
        identity={"student": student.name, "world": world.digest}
        | ({} if name == "release" else {"model": name}),
        inputs=[world],
        work=work,
        solo=True,
        shape=lambda: student.shape,
    )
