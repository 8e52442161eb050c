"""Hours over a family are shared out by measured rates: all read as many tokens, grown ones a share."""

import re
from pathlib import Path

import pytest

from wellread_hf.errors import SettingsError
from wellread_hf.experiments.family import Family
from wellread_hf.experiments.family_costs import rates_stage
from wellread_hf.experiments.family_settings import FamilySettings, tokens_a_step
from wellread_hf.experiments.glue_runs import GlueSettings
from wellread_hf.experiments.planner import Given
from wellread_hf.settings import Running
from wellread_hf.stages.presets import SMOKE_CORPUS
from wellread_hf.store.records import StageRecord
from wellread_hf.students import LAYERS, VOCABULARY, Student

# Deeper is slower, and wider too.
SPEED = {Student(layers, width): 1e6 / (layers * width) for layers in LAYERS for width in (128, 256)}


def _settings(runs: Path, **more: object) -> FamilySettings:
    """A family whose machine was measured: its record says how fast it is."""
    settings = FamilySettings(
        **{
            "students": ("h=128", "2-256"),
            "tasks": "sst2",
            "seeds": 1,
            "glue": GlueSettings(data="toy:glue@smoke", given=Given(corpus=SMOKE_CORPUS)),
            "running": Running(runs=runs),
            **more,
        }
    )
    stage = rates_stage(settings)
    stage.folder.mkdir(parents=True, exist_ok=True)
    StageRecord(
        kind=stage.kind,
        name=stage.name,
        digest=stage.digest,
        settings=stage.identity,
        inputs={},
        outcome={
            "device": "this",
            "seconds_a_step": {"bert-2-128": 1.0},
            "tokens_per_second": {student.name: speed for student, speed in SPEED.items()},
            "block_length": 128,
            "mask_share": 0.15,
            "vocabulary": VOCABULARY,
        },
        seconds=1.0,
        versions={},
        processes=1,
        device="cpu",
        command="",
        version=stage.version,
        outputs={},
    ).write(stage.folder)
    return settings


@pytest.mark.parametrize("grow", [False, True])
def test_hours_are_shared_out_so_that_all_read_as_many_tokens(tmp_path: Path, grow: bool) -> None:
    hours = 50.0
    family = Family(_settings(tmp_path, hours=hours, grow=grow))
    tokens = {student: how.steps * tokens_a_step(how) for student, how in family.planned.items()}
    assert len(tokens) == 7
    seconds = sum(read / SPEED[student] for student, read in tokens.items())
    # Rounded down to two digits, and to a step.
    assert 0.89 * 3600 * hours < seconds < 1.001 * 3600 * hours
    whole = tokens[Student(2, 128)]
    for student, read in tokens.items():
        share = 0.5 if grow and student != Student(2, 128) else 1.0
        assert read == pytest.approx(share * whole, rel=1e-3)


def test_a_grown_student_starts_from_one_that_is_planned_before_it(tmp_path: Path) -> None:
    family = Family(_settings(tmp_path, tokens=10**7, grow=True))
    order = list(family.encoders)
    assert family.smaller.keys() == set(order) - {Student(2, 128)}
    for student, smaller in family.smaller.items():
        assert order.index(smaller) < order.index(student)
        (init,) = (needed for needed in family.encoders[student].after if needed.kind == "init")
        assert family.encoders[smaller] in init.after


def test_hours_too_few_for_a_warm_up_are_refused(tmp_path: Path) -> None:
    settings = _settings(tmp_path, hours=0.001)
    with pytest.raises(SettingsError, match=r"expected at least 40,960, so that bert-2-128 warms up"):
        Family(settings)


def test_the_fewest_tokens_that_are_named_suffice_for_grown_students_too(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        Family(_settings(tmp_path, tokens=40_960, grow=True))
    words = re.search(r"expected at least ([\d,]+), so that bert-4-128 warms up", str(refused.value))
    assert words is not None
    Family(_settings(tmp_path, tokens=int(words[1].replace(",", "")), grow=True))
