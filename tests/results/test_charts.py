"""Charts: a method looks the same in all of them, the paper's scores too, and a legend hides nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from wellread_hf.errors import SettingsError, StoreError
from wellread_hf.results.charts import draw_family, draw_lines, draw_losses, draw_methods, draw_reliability
from wellread_hf.results.dev_rows import Row
from wellread_hf.results.dev_tables import draw_scores
from wellread_hf.results.figures import Mark
from wellread_hf.results.paper import published_test
from wellread_hf.store.records import StageRecord
from wellread_hf.students import LOOKS, METHOD_TITLES, METHODS, STUDENTS
from wellread_hf.tasks import GLUE_SETS

MARKS = [Mark(place=5e6, mean=80.0, spread=1.0), Mark(place=2e7, mean=85.0)]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that were drawn, with their legends placed."""
    drawn: list[Figure] = []
    save = Figure.savefig

    def kept(figure: Figure, *args: Any, **options: Any) -> None:
        drawn.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", kept)
    yield drawn
    for figure in drawn:
        for legend in figure.legends:
            hidden = [axes for axes in figure.axes if legend.get_window_extent().overlaps(axes.bbox)]
            assert not hidden
            # As a whole within the picture.
            x, y = legend.get_window_extent().min
            assert min(x, y) >= 0
            assert legend.get_window_extent().width <= figure.bbox.width


def scored(method: str, name: str, student: Any, lora: int | None = None) -> Row:
    values = (50.0 + student.layers, 52.0 + student.layers)
    return Row(
        student=student, method=method, set=name, metric=GLUE_SETS[name].metrics[0], values=values,
        seeds=(0, 1), learning_rate=3e-4, batch_size=32, lora_rank=lora, source="glue-x",
    )  # fmt: skip


def looks(figure: Figure) -> dict[str, set[tuple[str, str]]]:
    """Colour and mark of each method's series of marks with error bars."""
    found: dict[str, set[tuple[str, str]]] = {}
    for axes in figure.axes:
        for bars in axes.containers:
            line = bars[0]
            title = str(bars.get_label()).partition(",")[0]
            found.setdefault(title, set()).add((to_hex(line.get_color()), line.get_marker()))
    return found


def test_a_method_has_one_look_in_all_charts(tmp_path: Path, figures: list[Figure]) -> None:
    titles = list(METHOD_TITLES.values())
    own = {look.title: {(look.colour, look.mark)} for look in LOOKS.values()}
    assert (
        len({look.colour for look in LOOKS.values()})
        == len({look.mark for look in LOOKS.values()})
        == len(own)
    )
    draw_lines({title: MARKS for title in titles}, 90.0, "t", ("x", "y"), tmp_path / "lines.png")
    draw_family((4_000_000, "m"), {f"{title}, ours": MARKS for title in titles}, {}, "y")
    assert [looks(figure) for figure in figures] == [own, own]
    draw_scores([scored(method, "sst2", STUDENTS[0]) for method in METHODS])
    assert looks(figures[-1]) == {title: look for title, look in own.items() if title in titles[:4]}
    draw_methods({title: [80.0, 81.0] for title in titles}, 90.0, "t", "y", tmp_path / "bars.png")
    bars = [bar.get_facecolor() for bar in figures[-1].axes[0].patches]
    assert [to_hex(colour) for colour in bars] == [look.colour for look in LOOKS.values()]


def test_lines_of_one_method_and_of_none_are_told_apart(tmp_path: Path, figures: list[Figure]) -> None:
    labels = ["PD, 2-128", "PD, 4-128", "pre-trained", "truncated"]
    draw_lines(dict.fromkeys(labels, MARKS), None, "t", ("x", "y"), tmp_path / "lines.png")
    lines = [bars[0] for bars in figures[0].axes[0].containers]
    seen = [(line.get_color(), line.get_linestyle(), line.get_markerfacecolor()) for line in lines]
    assert len(set(seen)) == 4
    assert [line.get_color() == LOOKS["pd"].colour for line in lines] == [True, True, False, False]


def test_the_papers_points_stand_hollow_and_black_in_each_tasks_panel(figures: list[Figure]) -> None:
    draw_scores([scored(method, name, STUDENTS[0]) for method in ("pf", "pd") for name in ("sst2", "mrpc")])
    sst2, mrpc = figures[0].axes
    assert [axes.get_title() for axes in (sst2, mrpc)] == ["SST-2: accuracy (%)", "MRPC: F1 (%)"]
    (legend,) = figures[0].legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "PF, ours on dev (± 1 standard deviation)",
        "PD, ours on dev (± 1 standard deviation)",
        "PF, Turc et al. 2019 on test",
        "PD, Turc et al. 2019 on test",
    ]
    for axes, name in ((sst2, "sst2"), (mrpc, "mrpc")):
        lines = {line.get_label(): line for line in axes.get_lines()}
        for method in ("pf", "pd"):
            theirs = lines[f"{method.upper()}, Turc et al. 2019 on test"]
            assert (theirs.get_color(), theirs.get_markerfacecolor()) == ("black", "none")
            assert dict(zip(theirs.get_xdata(), theirs.get_ydata(), strict=True)) == {
                student.parameters(): figure for student, figure in published_test(method, name).items()
            }


def test_all_students_sets_and_methods_have_their_place_and_the_same_bytes_each_time(
    figures: list[Figure],
) -> None:
    sets = [name for name, of in GLUE_SETS.items() if of.dev is not None]
    rows = [scored(method, name, student) for student in STUDENTS for method in METHODS for name in sets]
    draw_scores([*rows, scored("pf", "sst2", STUDENTS[0], lora=8)])
    assert len(figures[0].axes) == len(sets) == 10
    for axes in figures[0].axes:
        left, right = axes.get_xlim()
        for bars in axes.containers:
            assert all(left < size < right for size in bars[0].get_xdata())
            assert len(bars[0].get_xdata()) == (1 if "LoRA 8" in str(bars.get_label()) else 24)
    assert draw_scores(rows[:4]) == draw_scores(rows[:4])


def test_reliability_shows_every_bin_before_and_after(figures: list[Figure]) -> None:
    def bins(*decisions: int) -> list[tuple[float, float, int]]:
        return [(0.9, 0.8, count) for count in decisions]

    picture = draw_reliability(1.5, (0.1, 0.05), (bins(1, 2, 3), bins(1, 2)))
    before, after = figures[0].axes[0].collections
    assert (len(before.get_offsets()), len(after.get_offsets())) == (3, 2)
    assert before.get_label() == "before: ECE 10.0 %"
    assert picture.startswith(b"\x89PNG")


def trained(root: Path, kind: str, weights: str | None, **outcome: float) -> Path:
    folder = root / f"{kind}-{weights}-0a1b"
    folder.mkdir()
    log = [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": 2.0, "eval_loss": 2.5},
        {"step": 2, "eval_loss": 2.4},
    ]
    (folder / "log.json").write_text(json.dumps(log))
    StageRecord(
        kind=kind, name="x", digest="0a1b", settings={"start": {"weights": weights}}, inputs={},
        outcome=outcome, seconds=1.0, versions={}, command="",
    ).write(folder)  # fmt: skip
    return folder


def test_losses_wear_the_look_of_the_method_that_was_trained(tmp_path: Path, figures: list[Figure]) -> None:
    kinds = [("pretrain", None), ("finetune", None), ("finetune", "x"), ("distill", None), ("distill", "x")]
    folders = [
        trained(tmp_path, kind, weights, **({"unigram_loss": 5.0} if kind == "pretrain" else {}))
        for kind, weights in kinds
    ]
    draw_losses(folders, tmp_path / "losses.png")
    (legend,) = figures[0].legends
    names = [text.get_text() for text in legend.get_texts()]
    assert [name.partition(",")[0] for name in names[2:]] == ["Basic", "PF", "Distillation", "PD"]
    assert names[1] == f"{folders[0].name}: word frequencies alone"
    colours = [line.get_color() for line in figures[0].axes[0].get_lines()[3::2]]
    assert colours == [LOOKS[method].colour for method in ("basic", "pf", "distillation", "pd")]


def test_what_trains_nothing_has_no_losses(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected folders of finished training stages, got none"):
        draw_losses([], tmp_path / "losses.png")
    folder = trained(tmp_path, "label", None)
    for text, words in (("[]", "expected losses, found none"), ("{", "cannot be read as the log")):
        (folder / "log.json").write_text(text)
        with pytest.raises(StoreError, match=words):
            draw_losses([folder], tmp_path / "losses.png")
    (folder / "log.json").unlink()
    with pytest.raises(StoreError, match="expected a stage that trains, got label"):
        draw_losses([folder], tmp_path / "losses.png")
