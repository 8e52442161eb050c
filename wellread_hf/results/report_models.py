"""The sections of a report about the rows of the best student and its teacher."""

from collections.abc import Sequence

from wellread_hf.results.class_table import class_table
from wellread_hf.results.report_facts import Shown, mark_of
from wellread_hf.results.report_parts import Section, Sortable
from wellread_hf.results.row_facts import by_length, confusion, disagreements, length_edges
from wellread_hf.results.svg import Axis, Chart, Point, Series
from wellread_hf.results.tables import Table

# More classes make a table that no one reads.
_MOST_CLASSES = 12


def model_sections(shown: Sequence[Shown]) -> list[Section]:
    """Returns what is known of the models shown: where two differ, confusion, calibration, lengths."""
    if not shown:
        return []
    differ = [_disagreements(*shown)] if len(shown) == 2 else []
    return [*differ, _confusions(shown), _calibration(shown), _lengths(shown)]


def _disagreements(student: Shown, teacher: Shown) -> Section:
    found = disagreements(student.rows, teacher.rows, student.outcome["labels"])
    rows = [
        [each.text, each.label, each.student, each.teacher, f"{each.distance:.2f}", each.kind]
        for each in found
    ]
    head = ["text", "label", "student", "teacher", "difference", "outcome"]
    return Section(
        id="rows",
        title="Where student and teacher disagree",
        text=f"The {len(rows)} validation rows on which {student.title} and the {teacher.title} differ most.",
        tables=[Sortable("Rows, the largest difference first", Table(head, rows))] if rows else (),
        filters=sorted({each.kind for each in found}),
    )


def _confusions(shown: Sequence[Shown]) -> Section:
    found, tables = [], []
    for model in shown:
        # Evaluations of before there was one have none.
        if (table := class_table(model.outcome.get("per_class", ()))) is not None:
            tables.append(Sortable(f"{model.title}, by class", table))
        names = model.outcome["labels"]
        if not 1 < len(names) <= _MOST_CLASSES or model.rows.labels.ndim == 2:
            continue
        counts = confusion(model.rows, len(names))
        shares = (10 * counts / counts.sum(axis=1, keepdims=True).clip(1)).round().astype(int)
        cells = [[name, *row] for name, row in zip(names, counts.tolist(), strict=True)]
        found.append((model.title, Table(["label", *names], cells), shares.tolist()))
    return Section(
        id="confusion",
        title="Confusion",
        text="Rows by label, down, and by prediction, across.",
        tables=tables,
        confusions=found,
    )


def _calibration(shown: Sequence[Shown]) -> Section:
    charts = []
    for model in shown:
        found = model.outcome.get("calibration")
        if found is None:
            continue
        series = [
            Series(
                name=f"{words}: ECE {100 * found[f'ece_{when}']:.1f}",
                look=look,
                mark=mark_of(look),
                line="solid" if when == "after" else "dashed",
                points=[
                    Point(
                        x=100 * each["confidence"],
                        y=100 * each["accuracy"],
                        name=f"{100 * each['accuracy']:.0f} % right of {each['decisions']}",
                    )
                    for each in found["bins"][when]
                ],
            )
            for when, words, look in (
                ("before", "as trained", "other"),
                ("after", "with a temperature", "pf"),
            )
        ]
        ideal = Series(name="", look="front", line="solid", points=[Point(x=0, y=0), Point(x=100, y=100)])
        charts.append(
            Chart(
                title=model.title,
                text=f"Expected calibration error {100 * found['ece_before']:.1f} % as trained, "
                f"{100 * found['ece_after']:.1f} % with a temperature of {found['temperature']:.2f}",
                x=Axis.over("confidence (%)", (), low=0, high=100),
                y=Axis.over("right (%)", (), low=0, high=100),
                series=[ideal, *series],
            )
        )
    return Section(
        id="calibration",
        title="Calibration",
        text="How often an answer is right, by its confidence. On the diagonal a probability means what it "
        "says. ECE is the mean distance from it, in points; with a temperature, on rows that did not fit it.",
        charts=charts,
    )


def _lengths(shown: Sequence[Shown]) -> Section:
    """The share of right answers by the length of the text, the same ranges for all."""
    charts = []
    if shown[0].outcome["labels"]:
        edges = length_edges(shown[0].rows)
        lows = [1, *(edge + 1 for edge in edges[:-1])]
        names = [f"{low}–{high}" if low < high else f"{high}" for low, high in zip(lows, edges, strict=True)]
        series = []
        for number, model in enumerate(shown):
            points = [
                Point(
                    # Side by side, so that none hides another.
                    x=place + 0.1 * number,
                    y=share,
                    low=share - error,
                    high=share + error,
                    name=f"{names[place]} tokens: {share:.1f} % of {count} rows",
                )
                for place, (count, share, error) in enumerate(by_length(model.rows, edges))
                if count
            ]
            mark = mark_of(model.look)
            series.append(Series(name=model.title, look=model.look, mark=mark, line="solid", points=points))
        ends = [end for each in series for point in each.points for end in (point.low, point.high, point.y)]
        charts = [
            Chart(
                title="Right answers by length",
                text="; ".join(f"{each.name}, {point.name}" for each in series for point in each.points),
                x=Axis.named("tokens", names),
                y=Axis.over("right (%)", [end for end in ends if end is not None]),
                series=series,
            )
        ]
    return Section(
        id="lengths",
        title="By length",
        text="Ranges of about equally many rows; bars are one standard error.",
        charts=charts,
    )
