"""From facts to a card: Markdown through one template, and a picture. Same facts, same bytes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import jinja2

from wellread_hf.errors import CardError, StoreError
from wellread_hf.hub.cards.facts import Facts, Result, Score, SoftLabels
from wellread_hf.hub.cards.languages import ENGLISH, languages_of
from wellread_hf.hub.cards.metadata import eval_results_of, front_matter, licence_of
from wellread_hf.hub.cards.origins import Origin, Source
from wellread_hf.hub.cards.picture import PICTURE, draw
from wellread_hf.hub.cards.secrets import secrets_in
from wellread_hf.hub.cards.shipped_facts import Choice
from wellread_hf.hub.cards.siblings import siblings_table, task_title
from wellread_hf.hub.cards.text import code, duration, fence, markdown
from wellread_hf.metrics.scores import THRESHOLD, metric_at
from wellread_hf.results import paper
from wellread_hf.results.charts import draw_reliability
from wellread_hf.results.class_table import class_table
from wellread_hf.students import HIDDEN, LAYERS, VOCABULARY, Student

EVAL_RESULTS = ".eval_results/glue.yaml"
RELIABILITY = "reliability.png"
_TEMPLATE, _LIMITS = "card.md.jinja", "limits.md"
# Of more classes the commonest are shown: a row of a table is no place for hundreds.
_CLASSES = 20
_METRICS = {
    "accuracy": "accuracy",
    "f1": "F1",
    "f1_micro": f"micro F1 (threshold {THRESHOLD})",
    "f1_macro": "macro F1",
    "entity_f1": "entity F1",
    "matthews_correlation": "Matthews",
    "pearson": "Pearson",
    "spearman": "Spearman",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A rendered card."""

    markdown: str  # README.md, front matter included
    picture: bytes | None  # the PNG that the Markdown shows, if it shows one
    reliability: bytes | None  # likewise, of its confidence
    eval_results: str | None  # `.eval_results/glue.yaml`, if it was asked for

    @property
    def files(self) -> dict[str, bytes]:
        """The files to push, by their path in the repository."""
        found = {"README.md": self.markdown.encode()}
        if self.picture is not None:
            found[PICTURE] = self.picture
        if self.reliability is not None:
            found[RELIABILITY] = self.reliability
        if self.eval_results is not None:
            found[EVAL_RESULTS] = self.eval_results.encode()
        return found


def render(facts: Facts, picture: bool = True, eval_results: bool = False) -> Card:
    """Renders a card.

    Args:
        facts: What it says.
        picture: Draw and show the picture of score against parameters.
        eval_results: Write `.eval_results/glue.yaml` too.

    Raises:
        CardError: No repository can have the name; or something looks like a secret.
    """
    sure = facts.confidence if picture else None
    languages = languages_of(facts)
    english = languages == (ENGLISH,)
    limits = environment().get_template(_LIMITS).render(languages=languages, case=facts.case).strip()
    text = (
        environment()
        .get_template(_TEMPLATE)
        .render(
            facts=facts,
            front_matter=front_matter(facts),
            limits=limits,
            english="English " if english else "",
            by_class=_by_class(facts),
            siblings=siblings_table(facts.siblings).markdown if facts.siblings else None,
            reliability=None if sure is None else RELIABILITY,
            picture=PICTURE if picture else None,
            published=paper,
            students={(layers, hidden): Student(layers, hidden) for layers in LAYERS for hidden in HIDDEN},
            layers=LAYERS,
            hidden=HIDDEN,
            words=VOCABULARY,
            licence=licence_of(facts),
        )
    )
    # Commands and names come from records, which may hold a token.
    if found := secrets_in(text):
        raise CardError(
            f"the card has what looks like a secret ({', '.join(found)}), in a command or a name; take it "
            "out of the record, and revoke it"
        )
    return Card(
        markdown=text,
        picture=draw(facts) if picture else None,
        reliability=None
        if sure is None
        else draw_reliability(sure.temperature, (sure.before, sure.after), sure.bins),
        eval_results=eval_results_of(facts) if eval_results else None,
    )


@cache
def environment() -> jinja2.Environment:
    """Returns what templates are rendered with: nothing undefined, a filter for every kind of text."""
    # Markdown, not HTML: what comes from records goes through a filter of `cards.text`, all of it.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_home()),
        # Otherwise a misspelt fact would leave a gap in the card.
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "text": markdown,
        "code": code,
        "fence": fence,
        "duration": duration,
        "percent": percent,
        "origin": origin,
        "taught_by": taught_by,
        "source": source,
        "task": task_title,
        "metric": metric_title,
        "release": release,
        "counts": class_counts,
        "linked": linked,
        "sibling": sibling,
        "milliseconds": milliseconds,
    }
    return environment


def _home() -> Path:
    """Returns where the template lies: beside this file in an installed package, else in the checkout."""
    here = Path(__file__).parent
    # A wheel carries the template beside the module; in a checkout it lies where people edit cards.
    for folder in (here, here.parents[2] / "model_cards"):
        if (folder / _TEMPLATE).is_file():
            return folder
    raise StoreError(f"expected {_TEMPLATE} in {here}, found none; install the package again")


def _by_class(facts: Facts) -> str | None:
    """Tables the scores of each class; None where there are none, or two even classes."""
    table = class_table([asdict(each) | {"class": markdown(each.name)} for each in facts.per_class])
    return None if table is None else table.markdown


def percent(score: Score) -> str:
    """Writes `mean ± standard deviation` in percent; the plain number for one seed."""
    mean = f"{100 * score.mean:.1f}"
    return mean if score.std is None else f"{mean} ± {100 * score.std:.1f}"


def metric_title(name: str) -> str:
    """Names a metric as the paper does."""
    return _METRICS.get(name) or markdown(metric_at(name))


def class_counts(counts: Sequence[tuple[str, int]]) -> str:
    """Writes the rows of each class, the commonest first of many."""
    shown = sorted(counts, key=lambda of: -of[1])[:_CLASSES] if len(counts) > _CLASSES else counts
    text = ", ".join(f"{code(name)} {rows:,}" for name, rows in shown)
    return text if len(shown) == len(counts) else f"{text} and {len(counts) - len(shown):,} classes more"


def release(score: Score, facts: Facts, result: Result) -> str:
    """Writes the release's test figure for a metric of a task of GLUE; empty where none was published."""
    figure = paper.release_test(facts.student, result.task.name, score.metric) if result.task.glue else None
    return "" if figure is None else f"{figure:.1f}"


def linked(choice: Choice, facts: Facts) -> str:
    """Names a student of the same task, with a link where it is pushed beside this one."""
    if choice.this:
        return f"**{markdown(choice.name)}**"
    return _link(choice.name, facts) if choice.name in facts.beside else markdown(choice.name)


def sibling(student: Student, facts: Facts) -> str:
    """Names another size with a link: to ours of it, else to the release's weights."""
    if facts.task is None and student.name in facts.beside:
        return _link(student.name, facts)
    return f"[{student.name}](https://huggingface.co/{student.release})"


def _link(name: str, facts: Facts) -> str:
    return f"[{markdown(name)}](https://huggingface.co/{facts.namespace}/{name})"


def milliseconds(found: float | None) -> str:
    """Writes a time; a dash where the machine was too noisy, or the calls were too few for it."""
    return "-" if found is None else f"{found:.2f}"


def origin(found: Origin, kind: str) -> str:
    """Writes where content came from: a link to the Hub, a digest of files, a stage, or an endpoint."""
    if found.hub_id is not None:
        where = f"[`{found.hub_id}`](https://huggingface.co/{kind}{found.hub_id})"
        return where if found.revision is None else f"{where} at revision `{found.revision}`"
    scheme, _, rest = found.fingerprint.partition(":")
    if scheme == "sha256":
        return f"local files, SHA-256 {code(rest)}"
    if scheme == "stage":
        digest, _, inside = rest.partition(":")
        what = "" if inside in ("", ".") else f"{code(inside)} of "
        return f"{what}stage {code(digest[:12])} of this package"
    if scheme == "endpoint":
        return f"{code(rest)}, a model behind an endpoint"
    return code(found.fingerprint)


def taught_by(labels: SoftLabels) -> str:
    """Writes where soft labels come from: the teacher's origin, or that of imported ones."""
    if labels.imported is None:
        return origin(labels.teacher, "")
    return f"imported soft labels ({markdown(labels.imported)}), {origin(labels.teacher, 'datasets/')}"


def source(found: Source | None) -> str:
    """Writes a source of text with its part; None is the task's own training text."""
    if found is None:
        return "the task's own training text, without its labels"
    parts = [origin(found.origin, "datasets/")]
    parts += [] if found.config is None else [f"configuration {code(found.config)}"]
    parts.append(f"split {code(found.split)}")
    parts.append(f"column {code(' + '.join(found.columns))}")
    parts += [] if found.rows is None else [f"the first {found.rows:,} rows"]
    return ", ".join(parts)
