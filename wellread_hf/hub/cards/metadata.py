"""The front matter of a card, built with the client's own classes.

Sources: `huggingface_hub.ModelCardData`; `modelcard.md` and `eval_results.yaml` in `huggingface/hub-docs`.
"""

from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml

from wellread_hf.errors import CardError
from wellread_hf.hub.cards.facts import Facts, Result, Score
from wellread_hf.hub.cards.languages import languages_of
from wellread_hf.hub.cards.text import plain
from wellread_hf.hub.names import is_repo_id, is_repo_name
from wellread_hf.metrics.per_class import class_of
from wellread_hf.metrics.scores import metric_at
from wellread_hf.results.paper import GLUE_TITLES
from wellread_hf.tasks import GLUE, GLUE_TASKS

LICENCE = "apache-2.0"
# Names of metrics as the Hub has them.
METRIC_IDS = {
    "accuracy": "accuracy",
    "f1": "f1",
    "f1_micro": "f1_micro",
    "f1_macro": "f1_macro",
    "entity_f1": "seqeval",
    "matthews_correlation": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
}
# As the Hub's documentation shows a card; the client sorts by name.
_ORDER = (
    *("language", "license", "library_name", "pipeline_tag", "tags", "datasets", "metrics", "base_model"),
    *("base_model_relation", "widget", "model-index"),
)
_DIGITS = 4  # of a score


def licence_of(facts: Facts) -> str | None:
    """Returns the licence of this package and of Google's release, `unknown` for what came from elsewhere.

    None where the user's own files went in, whose licence is not known.
    """
    # Nobody here can know under which licence a copy elsewhere is.
    if facts.adoption is not None and not facts.adoption.googles:
        return "unknown"
    return LICENCE if facts.stated else None


def pipeline_of(tagging: bool) -> str:
    """Returns the Hub's name for what a classifier does."""
    return "token-classification" if tagging else "text-classification"


def metadata_of(facts: Facts) -> dict[str, Any]:
    """Builds a card's metadata in the order it is written in.

    Raises:
        CardError: The name or namespace is one that no repository can have.
    """
    if not is_repo_name(facts.name):
        raise CardError(
            "expected a repository's name of up to 96 lower-case letters, digits, '-', '_' and '.', got "
            f"{facts.name!r}; give another with `name`"
        )
    if not is_repo_id(facts.repo_id):
        raise CardError(f"expected a user or organisation as `namespace`, got {facts.namespace!r}")
    results = _index_results(facts)
    base = facts.base
    if facts.adoption is not None and facts.task is None and facts.adoption.source.hub_id is not None:
        base = facts.adoption.source
    base_id = None if base is None else base.hub_id
    language = languages_of(facts)
    data = ModelCardData(
        language=language[0] if len(language) == 1 else list(language) or None,
        license=licence_of(facts),
        library_name="transformers",
        pipeline_tag="fill-mask" if facts.task is None else pipeline_of(facts.task.tagging),
        tags=_tags(facts),
        datasets=_datasets(facts) or None,
        metrics=sorted({result.metric_type for result in results}) or None,
        base_model=base_id,
        # The Hub guesses this relation where there is none, and knows no other for adopted weights.
        base_model_relation="finetune" if base_id else None,
        model_name=facts.name if results else None,
        eval_results=results or None,
        widget=_widget(facts) or None,
    )
    found = data.to_dict()  # type: ignore[no-untyped-call]  # the client leaves it untyped
    return {key: found[key] for key in _ORDER if key in found}


def front_matter(facts: Facts) -> str:
    """Writes the metadata as the YAML between a card's two lines of dashes."""
    return _yaml(metadata_of(facts)).strip()


def eval_results_of(facts: Facts) -> str:
    """Writes GLUE's scores as `.eval_results/glue.yaml`, in the client's format.

    The Hub takes such a file for registered benchmarks alone, of which GLUE was not one in August 2026.

    Raises:
        CardError: There is no score on a task of GLUE.
    """
    entries = [
        EvalResultEntry(
            dataset_id=GLUE,
            task_id=str(result.task.config),
            value=round(_value(result, result.first), _DIGITS),
            dataset_revision=result.task.origin.revision,
            notes=f"{result.first.split}, {_metric(result)}, {_how(result)}",
        )
        for result in _chosen(facts)
        if result.task.glue
    ]
    if not entries:
        raise CardError(
            f"{facts.name}: expected a score on a task of GLUE for .eval_results/glue.yaml, found none; "
            "leave out `eval_results`, or fine-tune on one first"
        )
    return _yaml(eval_result_entries_to_yaml(entries))


def _yaml(value: Any) -> str:
    # As the client dumps it, which has no types for its own function.
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))


def _index_results(facts: Facts) -> list[EvalResult]:
    found = []
    for result in _chosen(facts):
        task = result.task
        # A user's own task has no place in the index unless its data set has one on the Hub.
        if not task.glue and task.origin.hub_id is None:
            continue
        title = f"GLUE {GLUE_TITLES[task.name]}" if task.glue else plain(task.name)
        for score in result.scores:
            # The index has no name for one class's F1, and `f1` would be read as another.
            if class_of(score.metric) is not None:
                continue
            test = GLUE_TASKS[task.name].test if task.glue else "test"
            metric = METRIC_IDS[score.metric]
            found.append(
                EvalResult(
                    task_type=pipeline_of(task.tagging),
                    dataset_type=task.origin.hub_id or GLUE,
                    dataset_name=title or str(task.origin.hub_id),
                    dataset_config=plain(task.config or "") or None,
                    dataset_split=task.validation if score.split == "dev" else test,
                    dataset_revision=task.origin.revision,
                    metric_type=metric,
                    metric_name=f"{metric}, {score.split}, {_how(result)}",
                    metric_value=round(_value(result, score), _DIGITS),
                )
            )
    return found


def _chosen(facts: Facts) -> list[Result]:
    """Returns one result a task: a task student's own; of a pre-trained one, the best on dev."""
    # Of a task student its own result: the index speaks of the weights in this repository.
    if facts.own is not None:
        return [facts.own]
    best: dict[str, Result] = {}
    for result in facts.results:
        if result.task.name not in best or result.first.mean > best[result.task.name].first.mean:
            best[result.task.name] = result
    return list(best.values())


def _value(result: Result, score: Score) -> float:
    """Returns what a reader of the index may expect of these very weights, or of a fine-tuning of them."""
    if result.this_seed is None:
        return score.mean
    return score.values[result.seeds.index(result.this_seed)]


def _metric(result: Result) -> str:
    return METRIC_IDS.get(result.first.metric) or metric_at(result.first.metric)


def _how(result: Result) -> str:
    if result.this_seed is not None:
        return f"{result.method}, this model"
    count = len(result.seeds)
    return f"{result.method}, {'one seed' if count == 1 else f'mean of {count} seeds'}"


def _tags(facts: Facts) -> list[str]:
    tags = ["bert", "well-read-students", facts.student.name]
    if facts.own is not None:
        tags += ["knowledge-distillation"] if facts.own.teaching is not None else []
        tags += ["glue"] if facts.own.task.glue else []
    return tags + (["onnx", "transformers.js"] if facts.exported is not None else [])


def _widget(facts: Facts) -> list[dict[str, Any]]:
    return [
        {
            "text": plain(example.text),
            "output": [{"label": plain(label), "score": score} for label, score in example.labels],
        }
        for example in facts.examples
    ]


def _datasets(facts: Facts) -> list[str]:
    """Returns the Hub ids of all data that went into the weights."""
    # A data set from a folder has no id on the Hub, so the index leaves it out.
    ids: list[str | None] = []
    if facts.own is not None:
        task, taught = facts.own.task, facts.own.teaching
        ids.append(task.origin.hub_id or (GLUE if task.glue else None))
        ids += [part.origin.hub_id for part in taught.labels.transfer if part] if taught is not None else []
    if facts.pretraining is not None:
        ids += [source.origin.hub_id for source in facts.pretraining.sources]
    return list(dict.fromkeys(found for found in ids if found is not None))
