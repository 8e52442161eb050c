"""From made-up records to verdicts, tables and pictures."""

import json
import random
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wellread_hf.errors import SettingsError, StoreError
from wellread_hf.experiments.study.arms import Arm, Finding, Study
from wellread_hf.experiments.study.catalogue import STUDIES
from wellread_hf.experiments.study.findings import code_versions, results
from wellread_hf.experiments.study.overview import BEGIN, END, collect, overview
from wellread_hf.experiments.study.page import draw, page, verdict_table
from wellread_hf.experiments.study.planning import PlannedRun, PlannedStudy
from wellread_hf.experiments.study.predicting import Predictions
from wellread_hf.experiments.study.studies import studies_stages, study_stage
from wellread_hf.experiments.study.study_settings import ON_TOY, StudySettings
from wellread_hf.store.graph import carry_out
from wellread_hf.store.records import StageRecord
from wellread_hf.store.stage import Stage
from wellread_hf.students import Student

Scorer = Callable[[Arm, Student, int], float]


def _finished(root: Path, kind: str, name: str, outcome: Mapping[str, Any], commit: str) -> Stage:
    """A finished stage as a real folder with a record."""
    identity = {"name": name, "tuning": {"optim": {"batch_size": 32}}}
    stage = Stage(kind=kind, name=name, root=root, identity=identity, work=lambda stage: {})
    stage.folder.mkdir(parents=True)
    StageRecord(
        kind=kind,
        name=name,
        digest=stage.digest,
        settings=identity,
        inputs={},
        outcome=outcome,
        seconds=1.0,
        versions={"wellread_hf": "0.1.0", "torch": "2.13.0", "commit": commit},
        command="",
    ).write(stage.folder)
    return stage


def _planned(
    root: Path, study: Study, score: Scorer, commit: Callable[[int], str] = lambda seed: "abc"
) -> PlannedStudy:
    runs = []
    for arm in study.arms:
        for student in map(Student.parse, [arm.student] if arm.student else ["2-128", "4-128"]):
            for seed in range(5):
                outcome = {
                    "metric": "accuracy",
                    "test": {"accuracy": score(arm, student, seed) / 100},
                    "steps": 100,
                    "seconds_training": 2.0,
                }
                name = f"{arm.name}-{student}-{seed}".replace(" ", "-").replace("/", "-")
                step = _finished(root, "distill", name, outcome, commit(seed))
                runs.append(PlannedRun(arm=arm, student=student, seed=seed, steps=(step,)))
    teacher = _finished(root, "finetune", "teacher", {"test": {"accuracy": 0.9}}, "abc")
    return PlannedStudy(
        name="methods", study=study, settings=ON_TOY, runs=tuple(runs), teacher=teacher, similarities={}
    )


def _predictions(planned: PlannedStudy) -> Predictions:
    """Makes predictions with the scores of the records; what a model gets right all better ones do."""
    rows = 2_000
    order = np.random.default_rng(0).permutation(rows)
    right = {run.stage.folder.name: run.stage.record.outcome["test"]["accuracy"] for run in planned.runs}
    models = {name: np.where(order < share * rows, 1, 0) for name, share in right.items()}
    return Predictions(np.ones(rows, dtype=np.int64), models)


def _results(planned: PlannedStudy, settings: StudySettings = ON_TOY) -> dict[str, Any]:
    return results(replace(planned, settings=settings), _predictions(planned))


def _predicted(planned: PlannedStudy, stages: Sequence[Stage]) -> None:
    """Puts predictions where an earlier run would have left them: these models have no weights."""
    for stage in stages:
        stage.folder.mkdir(exist_ok=True)
        _predictions(planned).write(stage.folder / "predictions.npz")


LEVELS = {"PD": 85.0, "PF": 82.0, "Distillation": 81.8, "Basic": 75.0}


def _noisy(arm: Arm, student: Student, seed: int) -> float:
    """What student and seed do to all arms alike is large, what they do to one arm is small."""
    common = 4.0 * student.layers + 3.0 * seed
    own = random.Random(f"{arm.series} {student} {seed}").gauss(0, 0.4)
    return LEVELS[arm.series] - 10 + common + own


def test_verdicts_follow_the_scores(tmp_path: Path) -> None:
    found = _results(_planned(tmp_path, STUDIES["methods"], _noisy))
    verdicts = {(each["more"][0], each["less"][0]): each for each in found["findings"]}
    assert verdicts["PD", "PF"]["verdict"] == "confirmed"
    assert verdicts["PD", "PF"]["mean"] == pytest.approx(3.0, abs=0.5)
    assert verdicts["PF", "Basic"]["verdict"] == "confirmed"
    assert verdicts["PF", "Distillation"]["verdict"] != "confirmed"
    assert found["split"] == "test"
    assert found["teacher"] == pytest.approx(90.0)
    assert len(found["scores"]) == 40
    assert found["scores"][0]["budget"] == {"soft labels seen": 3_200}
    assert json.loads(json.dumps(found))["scores"] == found["scores"]


def test_the_other_way_round_nothing_is_confirmed(tmp_path: Path) -> None:
    turned = dict(zip(LEVELS, reversed(LEVELS.values()), strict=True))
    found = _results(
        _planned(
            tmp_path,
            STUDIES["methods"],
            lambda arm, student, seed: _noisy(arm, student, seed) - LEVELS[arm.series] + turned[arm.series],
        ),
        ON_TOY,
    )
    assert "confirmed" not in {each["verdict"] for each in found["findings"]}
    assert found["findings"][0]["verdict"] == "not confirmed"


def test_arms_with_students_of_their_own_are_paired_by_seed(tmp_path: Path) -> None:
    def score(arm: Arm, student: Student, seed: int) -> float:
        return 70 + 3 * seed + student.layers * (arm.series == "PD") + 0.1 * (seed == 2)

    planned = replace(_planned(tmp_path, STUDIES["depth-width"], score), name="depth-width")
    deeper, flat = _results(planned)["findings"]
    # 8 layers against 2.
    assert deeper["mean"] == pytest.approx(6.0)
    # Without any spread seeds test nothing.
    assert deeper["p_holm"] is None
    assert deeper["verdict"] == flat["verdict"] == "not decidable"
    assert "there is no spread" in deeper["note"]


def test_two_seeds_decide_nothing(tmp_path: Path) -> None:
    planned = _planned(tmp_path, STUDIES["methods"], _noisy)
    planned = replace(planned, runs=tuple(run for run in planned.runs if run.seed < 2))
    found = _results(planned, replace(ON_TOY, seeds=(0, 1)))
    for each in found["findings"]:
        assert each["verdict"] == "not decidable"
        assert each["note"] == "2 seeds, and a spread over seeds takes 3"
    assert "**not decidable: 2 seeds, and a spread over seeds takes 3**" in page(found)


def test_one_pre_training_for_all_seeds_decides_nothing_about_pre_training(tmp_path: Path) -> None:
    planned = _planned(tmp_path, STUDIES["methods"], _noisy)
    found = _results(planned, replace(ON_TOY, weights="{student}"))
    shown = {
        (each["more"][0], each["less"][0]): (each["verdict"], each["note"]) for each in found["findings"]
    }
    shared = ("not decidable", "one pre-training for all seeds, and pre-training is part of what differs")
    assert shown["PF", "Basic"] == shown["PD", "Distillation"] == shown["PF", "Distillation"] == shared
    # These start alike, from the one that is given, or from none.
    assert shown["PD", "PF"] == ("confirmed", "for the one pre-training given")
    assert shown["Distillation", "Basic"] == ("confirmed", "")


def test_what_the_rows_may_have_brought_about_is_not_confirmed(tmp_path: Path) -> None:
    planned = _planned(tmp_path, STUDIES["methods"], _noisy)
    # PF gets 26 rows of 200 wrong and PD 20 others, whatever the seed, which decides about one more.
    wrong = {"PD": range(20), "PF": range(20, 46)}
    models = {}
    for run in planned.runs:
        rows = [*wrong.get(run.arm.series, ()), *([100] if run.arm.series == "PD" and run.seed % 2 else [])]
        models[run.stage.folder.name] = np.isin(np.arange(200), rows).astype(np.int64)
    (found, *_) = results(planned, Predictions(np.zeros(200, dtype=np.int64), models))["findings"]
    assert found["mean"] == pytest.approx(3.0, abs=0.5)
    assert found["seed_error"] < 0.3
    assert found["row_error"] == pytest.approx(100 * (46 / 200 / 200) ** 0.5, rel=0.2)
    assert found["verdict"] == "not decidable"
    assert found["note"] == "the interval leaves it open"


def test_a_finding_of_four_arms_is_a_difference_of_differences(tmp_path: Path) -> None:
    more, less = ("PD", "Basic"), ("PF", "Distillation")
    finding = Finding(text="gains differ", paper="none", more=more, less=less)
    study = replace(STUDIES["methods"], findings=(finding,))
    (found,) = _results(_planned(tmp_path, study, _noisy))["findings"]
    assert found["mean"] == pytest.approx(85 + 75 - 82 - 81.8, abs=0.5)


def test_runs_of_different_code_are_shown_in_the_table(tmp_path: Path) -> None:
    one = _planned(tmp_path / "one", STUDIES["methods"], _noisy)
    assert len(code_versions(one)) == 1
    assert "different code versions" not in page(_results(one))
    two = _planned(
        tmp_path / "two", STUDIES["methods"], _noisy, lambda seed: "def-dirty" if seed == 4 else "abc"
    )
    counted = code_versions(two)
    assert [count for _, count in counted] == [33, 8]
    shown = page(_results(two))
    assert (
        "**the runs were made with different code versions**: 33 stages by wellread_hf 0.1.0 (abc)" in shown
    )
    assert "8 stages by wellread_hf 0.1.0 (def-dirty)" in shown


def test_what_students_had_read_before_is_shown(tmp_path: Path) -> None:
    planned = _planned(tmp_path / "methods", STUDIES["methods"], _noisy)
    assert _results(planned)["pre-training"] == "one a seed"
    given = replace(ON_TOY, weights="here", deep="deep")
    shown = _results(planned, given)["pre-training"]
    assert shown == "one for all seeds, in students given by `weights`; what these have read is not counted"
    planned = _planned(tmp_path / "concurrent", STUDIES["concurrent"], lambda arm, student, seed: seed)
    shown = _results(planned, given)["pre-training"]
    # DistilBERT's student reads, too.
    assert "in students given by `deep`, `weights`; what these" in shown
    assert shown.endswith("; what is read on top of it, or without it, is one a seed")
    planned = _planned(
        tmp_path / "initialisation", STUDIES["initialisation"], lambda arm, student, seed: seed
    )
    shown = _results(planned, replace(given, mlm_plus="plus"))["pre-training"]
    assert "in students given by `weights`, `deep`, `mlm_plus`; what these" in shown
    assert not shown.endswith("is one a seed")


def test_what_no_arm_used_of_the_budget_is_left_out(tmp_path: Path) -> None:
    found = _results(_planned(tmp_path, STUDIES["methods"], _noisy))
    text = page(found)
    assert "budget of every arm: labelled rows 500, transfer rows 6,000, soft labels seen 12,000;" in text
    found["scores"][0]["budget"]["MLM steps"] = 1_500
    assert "budget of every arm: MLM steps 1,500, labelled rows 500," in page(found)


def test_labels_seen_as_often_as_soft_labels_are_shown(tmp_path: Path) -> None:
    planned = _planned(tmp_path, STUDIES["concurrent"], lambda arm, student, seed: seed)
    found = _results(planned)
    assert found["budget"]["labels_seen"] == found["budget"]["soft_labels_seen"] == 12_000
    other = _planned(tmp_path / "other", STUDIES["transfer-size"], lambda arm, student, seed: seed)
    assert _results(other)["budget"]["labels_seen"] == 7_500


def test_a_teacher_that_was_given_is_shown(tmp_path: Path) -> None:
    planned = _planned(tmp_path, STUDIES["methods"], _noisy)
    assert "teacher: 90.0; taught by the same labelled rows" in page(_results(planned))
    given = page(_results(replace(planned, teacher=None)))
    assert "teacher: not scored on these rows; given, with labels of its own" in given


def test_a_page_says_all_that_a_reader_needs(tmp_path: Path) -> None:
    found = _results(_planned(tmp_path, STUDIES["methods"], _noisy))
    text = page(found)
    for line in [line for line in text.splitlines() if line.startswith("| ")]:
        assert line.endswith(" |")
    assert "**confirmed**" in text
    assert "PD 91.5, PF 87.5 (SST-2, mean of 24 students, measured)" in text
    assert "is confirmed: PD minus PF is +" in text
    assert "seeds 0, 1, 2, 3, 4" in text
    assert "teacher: 90.0" in text
    both = verdict_table([found, found | {"task": "sst2"}])
    assert list(both.head[:4]) == ["study", "task", "finding", "verdict"]
    assert len(both.rows) == 2 * 5


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_every_study_draws_its_picture(name: str, tmp_path: Path) -> None:
    study = STUDIES[name]
    planned = _planned(tmp_path / "runs", study, lambda arm, student, seed: 70 + seed + len(arm.name))
    found = _results(planned) | {"rank_correlations": {"in": 0.95, "near": 0.8, "far": -0.1}}
    draw(found, study, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_every_study_is_consistent(name: str) -> None:
    study = STUDIES[name]
    names = [arm.name for arm in study.arms]
    assert len(set(names)) == len(names)
    assert study.findings
    for finding in study.findings:
        assert {*finding.more, *finding.less} <= set(names)
        assert len(finding.more) == len(finding.less)
        assert finding.paper
    assert study.every_student == all(arm.student is None for arm in study.arms)


def _page(folder: Path) -> Path:
    page = folder / "page.md"
    folder.mkdir(parents=True, exist_ok=True)
    page.write_text(f"# Mine\n\n{BEGIN}\nof yesterday\n{END}\n\nMore.\n")
    return page


def test_studies_are_shown_in_a_page(tmp_path: Path) -> None:
    runs, docs = tmp_path / "runs", tmp_path / "docs"
    planned, running = _planned(runs, STUDIES["methods"], _noisy), replace(ON_TOY.running, runs=runs)
    settings = replace(ON_TOY, running=running)
    toy = study_stage(replace(planned, settings=settings))
    # Of another task, and so of another budget.
    mine, budget = replace(ON_TOY.task, name="mine"), replace(ON_TOY.budget, mlm_steps=7)
    of_text = replace(settings, task=mine, budget=budget)
    text = study_stage(replace(planned, settings=of_text))
    _predicted(planned, [toy, text])
    carry_out([toy, text])
    several = _finished(runs, "studies", "toy", {"studies": [toy.folder.name]}, "abc")
    place = _page(docs)
    for _ in range(2):
        collect([several.folder, text.folder], place)
    shown = place.read_text()
    assert shown.startswith("# Mine\n\n")
    assert shown.endswith("\n\nMore.\n")
    assert "of yesterday" not in shown
    assert shown.count(BEGIN) == shown.count(END) == 1
    assert "| study | toy | mine |" in shown
    (row,) = (line for line in shown.splitlines() if line.startswith("| Methods against student size |"))
    assert row.count("**[4 of 5 confirmed](studies/methods-") == row.count("(5 seeds)") == 2
    assert "; not confirmed: “pre-training is worth more than a teacher" in row
    for name, stage in (("methods-toy", toy), ("methods-mine", text)):
        assert f'src="studies/{name}/chart.png"' in shown
        for file in ("table.md", "chart.png", "results.json", "predictions.npz"):
            assert (docs / "studies" / name / file).read_bytes() == (stage.folder / file).read_bytes()


def test_a_deleted_study_is_written_again(tmp_path: Path) -> None:
    settings = replace(ON_TOY, running=replace(ON_TOY.running, runs=tmp_path))
    planned = [replace(_planned(tmp_path, STUDIES["methods"], _noisy), settings=settings)]
    (together,) = studies_stages(planned, settings)
    _predicted(planned[0], [study_stage(planned[0])])
    carry_out([together])
    (study,) = (tmp_path / name for name in together.record.outcome["studies"])
    before = (study / "table.md").read_bytes()
    assert studies_stages(planned, settings)[:-1] == []
    shutil.rmtree(study)
    _predicted(planned[0], [study_stage(planned[0])])
    carry_out(studies_stages(planned, settings))
    assert (study / "table.md").read_bytes() == before


def test_what_is_no_study_and_a_page_without_a_place_are_refused(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    other = _finished(runs, "distill", "one", {}, "abc").folder
    running = replace(ON_TOY.running, runs=runs)
    planned = _planned(runs, STUDIES["methods"], _noisy)
    study = study_stage(replace(planned, settings=replace(ON_TOY, running=running)))
    _predicted(planned, [study])
    carry_out([study])
    place = _page(tmp_path)
    with pytest.raises(StoreError, match=r"folder of a finished study, .* got a stage 'distill'"):
        collect([other], place)
    with pytest.raises(SettingsError, match="got methods-toy twice"):
        collect([study.folder, study.folder], place)
    twice = f"{BEGIN}\n{END}\n" * 2
    for bad in ("nothing here\n", f"{END}\n{BEGIN}\n", f"Write `{BEGIN}` and `{END}`.\n", twice):
        place.write_text(bad)
        with pytest.raises(SettingsError, match="expected a Markdown file with the lines"):
            collect([study.folder], place)
        assert place.read_text() == bad
    with pytest.raises(SettingsError, match="expected a Markdown file that can be read and written"):
        collect([study.folder], tmp_path / "missing.md")
    (tmp_path / "latin.md").write_bytes(b"sch\xf6n")
    with pytest.raises(SettingsError, match=r"`page` .*latin\.md: .* can't decode"):
        collect([study.folder], tmp_path / "latin.md")
    with pytest.raises(SettingsError, match="expected folders of finished studies"):
        collect([], place)
    place = _page(tmp_path)
    for missing in (tmp_path / "nothing", place):
        with pytest.raises(StoreError, match="found no folder; check the name"):
            collect([missing], place)
    kept = (study.folder / "results.json").read_text()
    lacking = json.loads(kept)
    del lacking["study"]
    for damaged in ("{bad", "{}", "[]", json.dumps(lacking)):
        (study.folder / "results.json").write_text(damaged)
        with pytest.raises(StoreError, match=r"expected a results.json as this version writes it: "):
            collect([study.folder], place)
    (study.folder / "results.json").write_text(kept)
    (study.folder / "chart.png").unlink()
    with pytest.raises(StoreError, match=r"expected chart.png in the folder of a finished study"):
        collect([study.folder], place)
    assert not (tmp_path / "studies").exists()


def test_what_the_documentation_shows_is_what_its_numbers_say() -> None:
    docs = Path(__file__).parents[3] / "docs"
    text = (docs / "reproduction.md").read_text()
    shown = text.partition(BEGIN)[2].partition(END)[0].strip()
    names = dict.fromkeys(re.findall(r'href="studies/([a-z0-9-]+)/table.md"', shown))
    found = {name: json.loads((docs / "studies" / name / "results.json").read_text()) for name in names}
    assert shown == overview(found)
    for name, numbers in found.items():
        assert (docs / "studies" / name / "table.md").read_text() == page(numbers)
