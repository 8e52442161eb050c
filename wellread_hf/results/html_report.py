"""One page of all that runs have shown: HTML without a request to any address, light, dark or printed."""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from wellread_hf.metrics.average import mean_and_spread
from wellread_hf.results.charts import metric_in_words, task_in_words
from wellread_hf.results.report_facts import (
    Candidate,
    Facts,
    Model,
    by_length,
    candidates,
    class_names,
    confusion,
    disagreements,
    length_edges,
    losses,
    read_facts,
)
from wellread_hf.results.svg import Axis, Chart, Point, Series
from wellread_hf.results.tables import Table
from wellread_hf.store.records import write_atomically
from wellread_hf.students import LOOKS

PAGE = Path(__file__).parent / "page"
# More classes make a table that no one reads.
_MOST_CLASSES = 12


class Shown(NamedTuple):
    """A table as the page shows it: sortable, one row marked."""

    caption: str
    table: Table
    marked: int | None = None

    @property
    def numbers(self) -> list[int]:
        """The columns that hold numbers alone; a column without any cell holds none."""
        columns = ([row[place] for row in self.table.rows] for place in range(len(self.table.head)))
        filled = [[str(cell) for cell in column if cell is not None] for column in columns]
        return [
            place
            for place, cells in enumerate(filled)
            if cells and all(cell.lstrip("−-")[:1].isdigit() for cell in cells)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page; empty parts are left out."""

    id: str
    title: str
    text: str
    charts: Sequence[Chart] = ()
    tables: Sequence[Shown] = ()
    confusions: Sequence[tuple[str, Table, Sequence[Sequence[int]]]] = ()  # caption, counts, tenths of a row
    filters: Sequence[str] = ()
    missing: Sequence[tuple[str, str]] = ()  # what, and the command that makes it


def write_report(runs: Sequence[Path], out: Path, task: str | None = None) -> None:
    """Writes the report of finished runs.

    Args:
        runs: Folders of all stages.
        out: The HTML file.
        task: The task to report, where there are several.

    Raises:
        SettingsError: There are classifiers of several tasks, and none is chosen.
        StoreError: A folder is missing, or there is no classifier of the task.
    """
    write_atomically(out, render(read_facts(runs, task)))


def render(facts: Facts, before: str = "", script: str = "", sources: str = "") -> str:
    """Renders the page.

    Args:
        facts: What it shows.
        before: HTML ahead of the sections.
        script: A module that follows the page's own script.
        sources: Directives that are added to the page's policy; without them it may ask no address.
    """
    page, templates = _page(facts), environment()
    style = templates.get_template("page.css").render(looks=LOOKS)
    code = (PAGE / "page.js").read_text(encoding="utf-8") + script
    # A hash allows this script and this style, and none that a row's text might bring.
    policy = (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_hash(style)}'; script-src '{_hash(code)}' {sources or ''}"
    ).strip()
    return templates.get_template("page.html.jinja").render(
        page=page,
        policy=policy,
        style=Markup(style),
        script=Markup(code),
        before=Markup(before),
        module=bool(script),
    )


def _hash(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def environment() -> jinja2.Environment:
    """Returns what pages are rendered with: nothing undefined, everything escaped."""
    # Texts of rows may be anything, so all that is shown is escaped; only our style and script are not.
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def title_of(facts: Facts) -> str:
    """Names the page."""
    return f"Students of {task_in_words(facts.task)}"


def _page(facts: Facts) -> dict[str, Any]:
    shown = _shown(facts)
    pair = [model for model in (shown, facts.teacher) if model is not None and model.rows is not None]
    sections = [
        _costs(facts, shown),
        _methods(facts),
        *([_disagreements(facts, *pair)] if len(pair) == 2 else []),
        *([_confusions(facts, pair), _calibration(pair), _lengths(facts, pair)] if pair else []),
        _losses(facts),
        _missing(facts),
    ]
    return {
        "title": title_of(facts),
        "lead": _lead(facts),
        "tiles": list(_tiles(facts, shown)),
        "sections": [
            found for found in sections if found.charts or found.tables or found.confusions or found.missing
        ],
    }


def _shown(facts: Facts) -> Model | None:
    """Returns the student whose answers are looked at: the pick's, else that of the best arm."""
    known = {
        arm: [model.score for model in models if model.score is not None]
        for arm, models in facts.arms.items()
    }
    best = max((arm for arm in known if known[arm]), key=lambda arm: mean(known[arm]), default=None)
    if best is None:
        return None
    models = facts.arms[best]
    return next((model for model in models if model.evaluation), models[0])


def _lead(facts: Facts) -> str:
    arms, evaluation = facts.arms, facts.evaluation
    seeds = max(len(models) for models in arms.values())
    on = f"{evaluation.outcome['rows']:,} validation rows" if evaluation else "validation rows"
    teacher = f" The teacher is {facts.teacher.student}." if facts.teacher else ""
    return (
        f"{len(facts.students)} trained models in {len(arms)} arms of up to {seeds} seeds, scored by "
        f"{metric_in_words(facts.metric)} on {on}.{teacher}"
    )


def _tiles(facts: Facts, shown: Model | None) -> Iterator[dict[str, str]]:
    """Yields the figures that stand on top: of the student that is shown, and of the teacher."""
    if shown is not None:
        scores = _scores(facts.arms[shown.arm])
        yield {"name": "best student", "value": f"{mean(scores):.1f} %", "note": _seeds(shown.title, scores)}
        if facts.teacher is not None and facts.teacher.score is not None:
            lost = mean(scores) - facts.teacher.score
            yield {
                "name": "against the teacher",
                "value": f"{lost:+.1f}".replace("-", "−"),
                "note": f"points; the teacher has {facts.teacher.score:.1f} %",
            }
        own = [found for found in candidates(facts) if found.model.arm == shown.arm]
        fastest = min((found for found in own if found.ms), key=lambda found: found.ms or 0, default=None)
        smallest = min((found for found in own if found.mb), key=lambda found: found.mb or 0, default=None)
        if fastest is not None:
            yield {
                "name": "latency",
                "value": f"{fastest.ms:.2f} ms",
                "note": f"p50, one thread, {fastest.format}",
            }
        if smallest is not None:
            yield {"name": "size", "value": f"{smallest.mb:.1f} MB", "note": smallest.format}


def _seeds(title: str, scores: Sequence[float]) -> str:
    spread = f" ± {stdev(scores):.1f}, {len(scores)} seeds" if len(scores) > 1 else ", one seed"
    return f"{title}{spread}"


def _scores(models: Iterable[Model]) -> list[float]:
    return [model.score for model in models if model.score is not None]


def _costs(facts: Facts, shown: Model | None) -> Section:
    found = candidates(facts)
    score = f"{metric_in_words(facts.metric)} (%)"
    charts = [
        _cost_chart(
            facts, [(each, cost) for each in found if (cost := getattr(each, field))], name, score, shown
        )
        for field, name in (("ms", "text to label, p50 (ms)"), ("mb", "file (MB)"))
        if any(getattr(each, field) for each in found)
    ]
    head = ["model", "format", score, "seeds", "ms", "MB", "peak MB", "start s"]
    rows = [
        [
            each.model.title,
            each.format,
            mean_and_spread(each.scores),
            len(each.scores),
            _figure(each.ms, 2),
            _figure(each.mb, 1),
            _figure(each.peak_mb, 0),
            _figure(each.start_s, 2),
        ]
        for each in found
    ]
    marked = next((place for place, each in enumerate(found) if shown and each.model.arm == shown.arm), None)
    return Section(
        id="costs",
        title="Score against cost",
        text="Full marks are int8 files, hollow ones fp32. The line joins what nothing cheaper beats, the "
        "Pareto front. Bars are one standard deviation over seeds.",
        charts=charts,
        tables=[Shown("Every model in every format that was scored", _filled(head, rows), marked)],
    )


def _filled(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Leaves out the columns of which nothing is known."""
    kept = [place for place in range(len(head)) if any(row[place] is not None for row in rows)]
    return Table([head[place] for place in kept], [[row[place] for place in kept] for row in rows])


def _figure(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _cost_chart(
    facts: Facts, found: Sequence[tuple[Candidate, float]], name: str, score: str, shown: Model | None
) -> Chart:
    front = _front([(cost, mean(each.scores)) for each, cost in found])
    looks: dict[str, list[Point]] = {}
    for each, cost in found:
        value = mean(each.scores)
        point = Point(
            x=cost,
            y=value,
            error=stdev(each.scores) if len(each.scores) > 1 else 0.0,
            name=f"{each.model.title}, {each.format}: {value:.1f} % at {cost:.3g}",
            label=each.model.student.removeprefix("bert-") if (cost, value) in front else "",
            hollow=each.format != "onnx-int8",
            picked=shown is not None and each.model.arm == shown.arm and (cost, value) in front,
        )
        looks.setdefault(each.model.look, []).append(point)
    marks = {each.model.look: each.model for each, _ in found}
    teacher = facts.teacher.score if facts.teacher else None
    x = Axis.over(name, [cost for _, cost in found], logarithmic=True)
    y = Axis.over(
        score, [*(value for each, _ in found for value in each.scores), *([teacher] if teacher else [])]
    )
    series = [
        Series(name="Pareto front", look="front", line="solid", points=[Point(x=a, y=b) for a, b in front])
    ]
    series += [
        Series(name=marks[look].method, look=look, mark=marks[look].mark, points=points)
        for look, points in looks.items()
    ]
    best = max(found, key=lambda each: mean(each[0].scores))[0]
    return Chart(
        title=f"{score.removesuffix(' (%)').capitalize()} against {name.partition(' (')[0]}",
        text=f"{len(found)} models; {len(front)} on the Pareto front; the best score is "
        f"{mean(best.scores):.1f} % by {best.model.title}. All figures are in the table below.",
        x=x,
        y=y,
        series=[*_teacher_line(teacher, x), *series],
    )


def _front(found: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the costs and scores that nothing cheaper reaches, cheapest first."""
    front: list[tuple[float, float]] = []
    for cost, score in sorted(found, key=lambda each: (each[0], -each[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front


def _teacher_line(score: float | None, x: Axis) -> list[Series]:
    if score is None:
        return []
    ends = [Point(x=x.low, y=score), Point(x=x.high, y=score)]
    return [Series(name=f"teacher: {score:.1f} %", look="teacher", line="dashed", points=ends)]


def _methods(facts: Facts) -> Section:
    """A chart a student: the methods side by side, mean and spread, a dot a seed."""
    charts = []
    for student in dict.fromkeys(model.student for model in facts.students):
        arms = [models for models in facts.arms.values() if models[0].student == student and _scores(models)]
        if not arms:
            continue
        values = [value for models in arms for value in _scores(models)]
        teacher = facts.teacher.score if facts.teacher else None
        x = Axis.named("", [models[0].method for models in arms])
        series = []
        for place, models in enumerate(arms):
            scores = _scores(models)
            error = stdev(scores) if len(scores) > 1 else 0.0
            name = _seeds(f"{models[0].title}: {mean(scores):.1f} %", scores)
            point = Point(x=place, y=mean(scores), error=error, name=name, label=mean_and_spread(scores))
            series.append(Series(name="", look=models[0].look, mark=models[0].mark, points=[point]))
        score = f"{metric_in_words(facts.metric)} (%)"
        charts.append(
            Chart(
                title=student,
                text="; ".join(series.points[0].name for series in series),
                x=x,
                y=Axis.over(score, [*values, *([teacher] if teacher else [])]),
                series=[*_teacher_line(teacher, x), *series],
            )
        )
    return Section(
        id="methods",
        title="Methods",
        text="Means over seeds; bars are one standard deviation. The dashed line is the teacher.",
        charts=charts,
    )


def _disagreements(facts: Facts, student: Model, teacher: Model) -> Section:
    assert student.rows is not None
    assert teacher.rows is not None
    names = class_names(facts)
    found = disagreements(student.rows, teacher.rows, names)
    rows = [
        [each.text, each.label, each.student, each.teacher, f"{each.distance:.2f}", each.kind]
        for each in found
    ]
    head = ["text", "label", "student", "teacher", "difference", "outcome"]
    return Section(
        id="rows",
        title="Where student and teacher disagree",
        text=f"The {len(rows)} validation rows on which the probabilities of {student.title} and of the "
        f"{teacher.title} differ most.",
        tables=[Shown("Rows, the largest difference first", Table(head, rows))] if rows else (),
        filters=sorted({each.kind for each in found}),
    )


def _confusions(facts: Facts, models: Sequence[Model]) -> Section:
    names = class_names(facts)
    found = []
    for model in models:
        rows = model.rows
        assert rows is not None
        if not 1 < len(names) <= _MOST_CLASSES or rows.labels.ndim == 2:
            continue
        counts = confusion(rows, len(names))
        shares = (10 * counts / counts.sum(axis=1, keepdims=True).clip(1)).round().astype(int)
        cells = [[name, *row] for name, row in zip(names, counts.tolist(), strict=True)]
        found.append((model.title, Table(["label", *names], cells), shares.tolist()))
    return Section(
        id="confusion",
        title="Confusion",
        text="Rows by label, down, and by prediction, across.",
        confusions=found,
    )


def _calibration(models: Sequence[Model]) -> Section:
    charts, wholes = [], {"before": "as trained", "after": "with the temperature of other rows"}
    for model in models:
        assert model.evaluation is not None
        found = model.evaluation[0].outcome.get("calibration")
        if found is None:
            continue
        axis = Axis.over("confidence (%)", (), low=0, high=100)
        series = [
            Series(
                name=f"{wholes[when]}: ECE {100 * found[f'ece_{when}']:.1f}",
                look=look,
                mark=mark,
                line="solid" if when == "after" else "dashed",
                points=[
                    Point(
                        x=100 * each["confidence"],
                        y=100 * each["accuracy"],
                        name=f"{100 * each['accuracy']:.0f} % right of {each['decisions']} rows",
                    )
                    for each in found["bins"][when]
                ],
            )
            for when, look, mark in (("before", "other", "o"), ("after", "pf", "s"))
        ]
        ideal = Series(name="", look="front", line="solid", points=[Point(x=0, y=0), Point(x=100, y=100)])
        charts.append(
            Chart(
                title=model.title,
                text=f"Expected calibration error {100 * found['ece_before']:.1f} % as trained, "
                f"{100 * found['ece_after']:.1f} % with a temperature of {found['temperature']:.2f}",
                x=axis,
                y=Axis.over("right (%)", (), low=0, high=100),
                series=[ideal, *series],
            )
        )
    return Section(
        id="calibration",
        title="Calibration",
        text="How often an answer is right, by its confidence. On the diagonal a probability means what it "
        "says. ECE is the mean distance from it, in points.",
        charts=charts,
    )


def _lengths(facts: Facts, models: Sequence[Model]) -> Section:
    """The share of right answers by the length of the text, the same ranges for all."""
    charts = []
    if class_names(facts):
        assert models[0].rows is not None
        edges = length_edges(models[0].rows)
        lows = [1, *(edge + 1 for edge in edges[:-1])]
        names = [f"{low}–{high}" if low < high else f"{high}" for low, high in zip(lows, edges, strict=True)]
        series, values = [], []
        for number, model in enumerate(models):
            assert model.rows is not None
            found = by_length(model.rows, edges)
            values += [share for _, share, _ in found]
            points = [
                Point(x=place + 0.1 * number, y=share, error=error, name=f"{share:.1f} % of {count} rows")
                for place, (count, share, error) in enumerate(found)
                if count
            ]
            series.append(
                Series(name=model.title, look=model.look, mark=model.mark, line="solid", points=points)
            )
        charts = [
            Chart(
                title="Right answers by length",
                text="; ".join(
                    f"{name} tokens: {value:.1f} %" for name, value in zip(names, values, strict=False)
                ),
                x=Axis.named("tokens", names),
                y=Axis.over("right (%)", values),
                series=series,
            )
        ]
    return Section(
        id="lengths",
        title="By length",
        text="Ranges of about equally many rows; bars are one standard error.",
        charts=charts,
    )


def _losses(facts: Facts) -> Section:
    charts = []
    looks = {model.fingerprint: model for model in facts.students}
    for title, kinds in (("Pre-training", ("pretrain",)), ("Teaching", ("finetune", "distill"))):
        series: list[Series] = []
        for record, logged in losses(facts, kinds):
            model = looks.get(f"stage:{record.digest}:.")
            name = "" if model is None else model.method
            series.append(
                Series(
                    # Once a method; all of its seeds look alike.
                    name="" if name in {each.name for each in series} else name,
                    look=model.look if model else "teacher",
                    line="solid",
                    points=[Point(x=step, y=loss) for step, loss in logged],
                )
            )
        if series:
            points = [point for each in series for point in each.points]
            charts.append(
                Chart(
                    title=title,
                    text=f"Losses of {len(series)} trainings, {points[0].y:.2f} nats at first.",
                    x=Axis.over("optimizer steps", [point.x for point in points], low=0),
                    y=Axis.over("loss (nats)", [point.y for point in points], low=0),
                    series=series,
                )
            )
    return Section(id="losses", title="Losses", text="On training rows; a line a training.", charts=charts)


def _missing(facts: Facts) -> Section:
    """Names what is not known, and the commands that find it out."""
    folder = next((model.folder.name for model in facts.students if model.folder), "MODEL")
    found = []
    if not all(model.evaluation for model in facts.students):
        found.append(("Predictions of every model", f"wellread eval runs/{folder}"))
    if facts.teacher is not None and facts.teacher.evaluation is None:
        found.append(("The teacher's predictions", "wellread eval TEACHER"))
    if not facts.stages.of_kind("export"):
        found.append(("ONNX files, fp32 and int8", f"wellread export runs/{folder}"))
    if not facts.stages.of_kind("measure"):
        found.append(("Latency and memory", f"wellread measure runs/{folder}"))
    return Section(id="missing", title="What is missing", text="These commands add it.", missing=found)
