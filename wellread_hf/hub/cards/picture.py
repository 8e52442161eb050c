"""The picture in a card: score against parameters, the card's model marked."""

from collections.abc import Iterable
from statistics import mean, stdev

from wellread_hf.hub.cards.facts import Facts, Result
from wellread_hf.results.charts import draw_family, metric_in_words
from wellread_hf.results.figures import Mark
from wellread_hf.results.paper import GLUE_TEST, GLUE_TITLES, release_test
from wellread_hf.students import Student

PICTURE = "scores.png"
# Its models were fine-tuned on labels, not distilled.
_RELEASE = "PF, the release (Google) on test"


def draw(facts: Facts) -> bytes:
    """Draws the scores of a card, against the release's on the same tasks.

    Ours are means over the tasks that were scored, of each task's first metric on dev; the release's are
    means over the very same tasks and metrics on test. Where none of our models was scored, the release's
    GLUE score is drawn alone, and this size is a line.
    """
    this = facts.student.parameters(facts.vocabulary), facts.name
    if facts.toy and facts.measured is not None:
        this = facts.measured.weights, f"{facts.name} (toy)"
    scored = _scored(facts.results)
    # An encoder without scores of its own is shown beside the release.
    if not scored:
        release = [_release_mark(student, float(row[0])) for student, row in GLUE_TEST.items()]
        return draw_family(this, {}, {_RELEASE: release}, "GLUE score on test")
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
    # The card's own model comes first.
    order = sorted(methods.items(), key=lambda item: (facts.own not in item[1], item[0]))
    ours = {_label(facts, method, results): [_mark(this[0], results)] for method, results in order}
    release = _release(tasks)
    return draw_family(this, ours, {_RELEASE: release} if release else {}, _axis(tasks))


def _axis(tasks: list[Result]) -> str:
    titles = [GLUE_TITLES[result.task.name] if result.task.glue else "own task" for result in tasks]
    if len(tasks) > 1:
        return f"mean of {', '.join(titles)} (%)"
    return f"{titles[0]}: {metric_in_words(tasks[0].first.metric)} (%)"


def _scored(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Returns each method's best result a task, tasks in the order of their names."""
    best: dict[str, dict[str, Result]] = {}
    for result in results:
        tasks = best.setdefault(result.method, {})
        known = tasks.get(result.task.name)
        # The card's own result stays, even where another one of its method is better.
        if known is None or result.first.mean > known.first.mean or result.this_seed is not None:
            tasks[result.task.name] = result
    return {method: [tasks[name] for name in sorted(tasks)] for method, tasks in sorted(best.items())}


def _label(facts: Facts, method: str, results: list[Result]) -> str:
    own = facts.task is None or facts.own in results
    return f"{method}, {'this model' if own else 'ours'} on dev"


def _mark(parameters: int, results: list[Result]) -> Mark:
    score = 100 * mean(result.first.mean for result in results)
    seeds = [100 * mean(values) for values in zip(*(result.first.values for result in results), strict=False)]
    # A mean over tasks has a spread over seeds only if the tasks share their seeds.
    shared = len({result.seeds for result in results}) == 1 and len(seeds) > 1
    return Mark(place=parameters, mean=score, spread=stdev(seeds) if shared else None)


def _release(tasks: list[Result]) -> list[Mark]:
    marks = []
    for student in GLUE_TEST:
        figures = [
            release_test(student, result.task.name, result.first.metric) if result.task.glue else None
            for result in tasks
        ]
        known = [figure for figure in figures if figure is not None]
        if len(known) == len(figures):
            marks.append(_release_mark(student, mean(known)))
    return marks


def _release_mark(student: Student, score: float) -> Mark:
    return Mark(place=student.parameters(), mean=score, name=str(student.alias))
