"""The picture in a card: score against parameters, the card's model marked."""

from collections.abc import Iterable
from statistics import mean, stdev

from wellread_hf.hub.cards.facts import Facts, Result
from wellread_hf.paper import GLUE_TEST, GLUE_TITLES, release_test
from wellread_hf.results.charts import Point, draw_family
from wellread_hf.students import Student

PICTURE = "scores.png"


def draw(facts: Facts) -> bytes:
    """Draws the scores that a card tells, against the release's on the same tasks.

    Ours are means over the tasks that were scored, of each task's first metric on dev; the release's are
    means over the very same tasks and metrics on test. Where nothing of ours was scored, the release's
    GLUE score is drawn alone, and this size is a line.
    """
    parameters = facts.student.parameters(facts.vocabulary)
    scored = _scored(facts.results)
    if not scored:
        release = [_point(student, float(row[0])) for student, row in GLUE_TEST.items()]
        return draw_family(
            (parameters, facts.name), [], release, "GLUE score, test", "the release (Google), test"
        )
    best = max(len(results) for results in scored.values())
    # Methods that were scored on fewer tasks have no mean that could be set beside the others.
    methods = {method: results for method, results in scored.items() if len(results) == best}
    tasks = max(methods.values(), key=lambda results: results[0].first.mean)
    names = {result.task.name for result in tasks}
    methods = {
        method: results
        for method, results in methods.items()
        if {result.task.name for result in results} == names
    }
    # The card's own model comes first, which is drawn as a star.
    order = sorted(methods.items(), key=lambda item: (facts.own not in item[1], item[0]))
    ours = [_ours(facts, parameters, method, results) for method, results in order]
    title = ", ".join(GLUE_TITLES[result.task.name] if result.task.glue else "own task" for result in tasks)
    return draw_family(
        (parameters, facts.name), ours, _release(tasks), f"{title} (%)", "the release (Google), test"
    )


def _scored(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Returns each method's best result a task, tasks in the order of their names."""
    best: dict[str, dict[str, Result]] = {}
    for result in results:
        tasks = best.setdefault(result.method, {})
        known = tasks.get(result.task.name)
        if known is None or result.first.mean > known.first.mean or result.this_seed is not None:
            tasks[result.task.name] = result
    return {method: [tasks[name] for name in sorted(tasks)] for method, tasks in sorted(best.items())}


def _ours(facts: Facts, parameters: int, method: str, results: list[Result]) -> Point:
    # A mean over tasks has a spread over seeds only if the tasks share their seeds.
    shared = len({result.seeds for result in results}) == 1
    seeds = [100 * mean(values) for values in zip(*(result.first.values for result in results), strict=False)]
    score = 100 * mean(result.first.mean for result in results)
    own = facts.task is None or facts.own in results
    return Point(
        parameters=parameters,
        score=score,
        spread=stdev(seeds) if shared and len(seeds) > 1 else None,
        label=f"{method}, {'this model' if own else 'ours'}, dev",
    )


def _release(tasks: list[Result]) -> list[Point]:
    points = []
    for student in GLUE_TEST:
        figures = [
            release_test(student, result.task.name, result.first.metric) if result.task.glue else None
            for result in tasks
        ]
        known = [figure for figure in figures if figure is not None]
        if len(known) == len(figures):
            points.append(_point(student, mean(known)))
    return points


def _point(student: Student, score: float) -> Point:
    return Point(parameters=student.parameters(), score=score, spread=None, label=str(student.alias))
