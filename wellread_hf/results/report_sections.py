"""The sections of a report: charts and tables of what is known, each empty where nothing is."""

import re
from collections.abc import Iterable, Iterator, Sequence
from statistics import mean, stdev

from wellread_hf.metrics.average import mean_and_spread
from wellread_hf.results.candidates import Candidate
from wellread_hf.results.charts import metric_in_words
from wellread_hf.results.picking import bounds
from wellread_hf.results.report_facts import Facts, look_of, losses, mark_of
from wellread_hf.results.report_models import model_sections
from wellread_hf.results.report_parts import Section, Sortable
from wellread_hf.results.svg import Axis, Chart, Point, Series
from wellread_hf.results.tables import Table


def sections_of(facts: Facts) -> list[Section]:
    """Returns the sections that have something to show, in their order on the page."""
    sections = [
        _costs(facts),
        _methods(facts),
        *model_sections(facts.shown),
        _losses(facts),
        _missing(facts),
    ]
    return [each for each in sections if each.charts or each.tables or each.confusions or each.missing]


def lead(facts: Facts) -> str:
    """Says under the title what was scored, and where it was measured."""
    trained, metric = len(facts.trained), metric_in_words(facts.metric)
    found = f"Finished trainings: {trained}. Scores are {metric} on validation rows."
    machines = facts.offer.machines if facts.offer else ()
    return found + (f" Milliseconds were measured on {', '.join(machines)}." if machines else "")


def tiles(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Yields the figures that stand on top, of the pick: a name, a value, a note."""
    best = facts.best
    if best is None:
        return
    yield (
        "the pick" if facts.picked else "best score",
        f"{best.score.mean:.1f} %",
        f"{best.title}; {bounds(best.score)} (95 %)",
    )
    if best.gap is not None:
        interval = f"{_signed(best.gap.low)} to {_signed(best.gap.high)} (95 %)"
        yield "against the teacher", _signed(best.gap.mean), f"points, {interval}"
    if best.ms is not None:
        yield "text to label", f"{best.ms:.2f} ms", "p50, one text a call"
    if best.mb is not None:
        yield "file", f"{best.mb:.1f} MB", best.format


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _costs(facts: Facts) -> Section:
    found = sorted(facts.candidates, key=lambda each: -each.score.mean)
    score = f"{metric_in_words(facts.metric)} (%)"
    asked = facts.picking
    latency = f"latency at {asked.length} tokens, threads: {asked.threads} (ms)"
    charts = [
        _cost_chart(facts, [(each, cost) for each in found if (cost := getattr(each, field))], name, score)
        for field, name in (("ms", latency), ("mb", "size of the file (MB)"))
        if any(getattr(each, field) for each in found)
    ]
    head = ["student", "method", "format", score, "95 % interval", "seeds", "against the teacher", "ms", "MB"]
    rows = [
        [
            each.name,
            each.method,
            each.format,
            f"{each.score.mean:.1f}",
            bounds(each.score),
            len(each.members),
            None if each.gap is None else _signed(each.gap.mean),
            None if each.ms is None else f"{each.ms:.2f}",
            None if each.mb is None else f"{each.mb:.2f}",
        ]
        for each in found
    ]
    marked = next((place for place, each in enumerate(found) if each is facts.best), None)
    return Section(
        id="costs",
        title="Score against cost",
        text="Full marks are int8 files, hollow ones others. The line joins what nothing cheaper beats, the "
        f"Pareto front; the ring is {'the pick' if facts.picked else 'the best score'}. Bars are one "
        "standard deviation over seeds.",
        charts=charts,
        tables=[Sortable("Every model in every format", _filled(head, rows), marked)] if rows else (),
    )


def _cost_chart(facts: Facts, found: Sequence[tuple[Candidate, float]], name: str, score: str) -> Chart:
    front = pareto_front([(cost, each.score.mean) for each, cost in found])
    looks: dict[str, list[Point]] = {}
    for each, cost in found:
        ahead = (cost, each.score.mean) in front
        scores = [float(member.scored[0]) for member in each.members]
        spread = stdev(scores) if len(scores) > 1 else None
        point = Point(
            x=cost,
            y=each.score.mean,
            low=None if spread is None else each.score.mean - spread,
            high=None if spread is None else each.score.mean + spread,
            name=f"{each.title}: {each.score.mean:.1f} % at {cost:.3g}",
            label=_short(each.name) if ahead or each is facts.best else "",
            hollow=each.format != "onnx-int8",
            picked=each is facts.best,
        )
        looks.setdefault(each.method, []).append(point)
    x = Axis.over(name, [cost for _, cost in found], logarithmic=True)
    ends = [float(member.scored[0]) for each, _ in found for member in each.members]
    line = Series(name="Pareto front", look="front", line="solid", points=[Point(x=a, y=b) for a, b in front])
    series = [
        Series(name=method, look=look_of(method), mark=mark_of(look_of(method)), points=points)
        for method, points in looks.items()
    ]
    best = max((each for each, _ in found), key=lambda each: each.score.mean)
    return Chart(
        title=f"{score.removesuffix(' (%)')} against {re.split('[, ]', name)[0]}".capitalize(),
        text=f"{len(found)} models; {len(front)} on the Pareto front; the best score is "
        f"{best.score.mean:.1f} % by {best.title}. All figures are in the table below.",
        x=x,
        y=Axis.over(score, [*ends, *([facts.teacher] if facts.teacher else [])]),
        series=[*_teacher_line(facts, x), line, *series],
    )


def _short(name: str) -> str:
    """Returns the size in a student's name, as labels have it; else its beginning."""
    found = re.search(r"\d+-\d+", name)
    return found[0] if found else name[:12]


def pareto_front(found: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the costs and scores that nothing cheaper reaches, cheapest first."""
    front: list[tuple[float, float]] = []
    for cost, score in sorted(found, key=lambda each: (each[0], -each[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front


def _teacher_line(facts: Facts, x: Axis) -> list[Series]:
    if facts.teacher is None:
        return []
    ends = [Point(x=end, y=facts.teacher) for end in (x.low, x.high)]
    name = f"{facts.taught_by}: {facts.teacher:.1f} %"
    return [Series(name=name, look="teacher", line="dashed", points=ends)]


def _methods(facts: Facts) -> Section:
    """A chart a size of student: the methods side by side."""
    charts = []
    score = f"{metric_in_words(facts.metric)} (%)"
    for size in dict.fromkeys(each.size for each in facts.trained):
        arms = [arm for arm in facts.arms if arm[0].size == size]
        x = Axis.named("", [arm[0].method for arm in arms])
        series, ends = [], [facts.teacher] if facts.teacher else []
        for place, arm in enumerate(arms):
            scores = [each.score for each in arm]
            centre, spread = mean(scores), stdev(scores) if len(scores) > 1 else 0.0
            ends += [centre - spread, centre + spread, *scores]
            look = look_of(arm[0].method)
            seeds = "one seed" if len(scores) == 1 else f"{len(scores)} seeds"
            point = Point(
                x=place,
                y=centre,
                low=centre - spread,
                high=centre + spread,
                name=f"{arm[0].method}: {mean_and_spread(scores)} %, {seeds}",
                label=mean_and_spread(scores),
            )
            series.append(Series(name="", look=look, mark=mark_of(look), points=[point]))
        charts.append(
            Chart(
                title=size,
                text="; ".join(each.points[0].name for each in series),
                x=x,
                y=Axis.over(score, ends),
                series=[*_teacher_line(facts, x), *series],
            )
        )
    return Section(
        id="methods",
        title="Methods",
        text=f"Means over seeds; bars are one standard deviation. The dashed line is the {facts.taught_by}."
        if facts.teacher is not None or not facts.is_imported
        else "Means over seeds; bars are one standard deviation. Soft labels were imported.",
        charts=charts,
    )


def _losses(facts: Facts) -> Section:
    charts = []
    methods = {each.record.digest: each.method for each in facts.trained}
    for title, kinds in (("Pre-training", ("pretrain",)), ("Teaching", ("finetune", "distill"))):
        series: list[Series] = []
        for record, logged in losses(facts, kinds):
            # What is no student's is a teacher's, or shared.
            name = methods.get(record.digest, "" if kinds == ("pretrain",) else "teacher")
            series.append(
                Series(
                    # Once a method; all of its seeds look alike.
                    name="" if name in {each.name for each in series} else name,
                    look=look_of(name),
                    line="solid",
                    points=[Point(x=step, y=loss) for step, loss in logged],
                )
            )
        if series:
            points = [point for each in series for point in each.points]
            charts.append(
                Chart(
                    title=title,
                    text=f"{len(series)} trainings, up to {max(point.x for point in points):,.0f} steps",
                    x=Axis.over("optimizer steps", [point.x for point in points], low=0),
                    y=Axis.over("loss (nats)", [point.y for point in points], low=0),
                    series=series,
                )
            )
    return Section(id="losses", title="Losses", text="On training rows; a line a training.", charts=charts)


def _missing(facts: Facts) -> Section:
    """Names what is not known, and the commands that find it out."""
    evaluated = {of.fingerprint for each in facts.candidates for of in each.members}
    task = f"--task {facts.task}"
    found = []
    if any(each.record.fingerprint not in evaluated for each in facts.trained):
        found.append(("Predictions of every student", f"wellread eval runs/distill-* {task}"))
    if (facts.offer is None or not facts.offer.teachers) and not facts.is_imported:
        found.append(("The teacher's predictions", f"wellread eval TEACHER {task}"))
    if not facts.stages.of_kind("export"):
        found.append(("ONNX files, fp32 and int8", f"wellread export MODEL {task}"))
    if not facts.stages.of_kind("measure"):
        found.append(("Milliseconds", f"wellread measure MODEL {task}"))
    return Section(id="missing", title="What is missing", text="These commands add it.", missing=found)


def _filled(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Leaves out the columns of which nothing is known."""
    kept = [place for place in range(len(head)) if any(row[place] is not None for row in rows)]
    return Table([head[place] for place in kept], [[row[place] for place in kept] for row in rows])
