"""The front matter: the Hub takes that of every card, and a name that no repository has is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from goldens import CARDS
from hub_server.cards import check as card_problems
from huggingface_hub import parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results
from small_stages import SHA, Root, chain

from wellread_hf.errors import CardError
from wellread_hf.hub.cards import Facts, facts_of_run, facts_of_student, render
from wellread_hf.hub.cards.metadata import METRIC_IDS, metadata_of
from wellread_hf.metrics.glue_metric.glue_metric import METRICS
from wellread_hf.results.paper import (
    GLUE_TITLES,
)
from wellread_hf.students import STUDENTS, Student
from wellread_hf.tasks import GLUE_TASKS


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    folder = tmp_path_factory.mktemp("chain")
    return facts_of_run(Root(folder).folder(chain(folder)["pd"]), namespace="readers")


def test_a_task_students_metadata(student: Facts) -> None:
    # Books of the user's own went in: nobody has stated a language or a licence.
    assert metadata_of(student) == {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["bert", "well-read-students", "bert-2-128", "knowledge-distillation", "glue"],
        "datasets": ["nyu-mll/glue", "stanfordnlp/imdb", "wikimedia/wikipedia"],
        "metrics": ["accuracy"],
        "base_model": "readers/bert-2-128",
        "base_model_relation": "finetune",
        "model-index": [
            {
                "name": "bert-2-128-sst2",
                "results": [
                    {
                        "task": {"type": "text-classification"},
                        "dataset": {
                            "name": "GLUE SST-2",
                            "type": "nyu-mll/glue",
                            "config": "sst2",
                            "split": "validation",
                            "revision": SHA,
                        },
                        # Its own score, not the mean of its seeds.
                        "metrics": [
                            {"type": "accuracy", "value": 0.82, "name": "accuracy, dev, PD, this model"}
                        ],
                    }
                ],
            }
        ],
    }


@pytest.mark.parametrize(
    ("content", "start", "licence", "english"),
    [
        (f"hub:stanfordnlp/imdb@{SHA}", "hub:google/bert_uncased_L-2_H-128_A-2@" + SHA, True, True),
        (f"hub:stanfordnlp/imdb@{SHA}", None, True, True),
        # Of a data set that this package does not know nobody here knows the language.
        (f"hub:me/reviews@{SHA}", "hub:google/bert_uncased_L-2_H-128_A-2@" + SHA, True, False),
        ("sha256:" + 64 * "a", "hub:google/bert_uncased_L-2_H-128_A-2@" + SHA, False, False),
        (f"hub:stanfordnlp/imdb@{SHA}", "sha256:" + 64 * "b", False, False),
        (f"hub:stanfordnlp/imdb@{SHA}", f"stage:{64 * 'c'}:.", False, False),
        (f"stage:{64 * 'c'}:task", None, False, False),
    ],
)
def test_of_data_of_ones_own_neither_licence_nor_language_is_stated(
    content: str, start: str | None, licence: bool, english: bool, tmp_path: Path
) -> None:
    task = {"name": "mine", "columns": ["text"], "content": [content], "validation": True}
    root = Root(tmp_path)
    facts = facts_of_run(root.folder(root.tuned(start, 0.8, task=task)))
    metadata, card = metadata_of(facts), render(facts, picture=False).markdown
    assert ("license" in metadata, metadata.get("language") == "en") == (licence, english)
    assert ("Apache" in card) == licence
    for said in ("compact English", "English only", "English text"):
        assert (said in card) == english


def test_the_language_is_that_of_corpus_and_task(tmp_path: Path) -> None:
    root = Root(tmp_path)
    source = {"name": f"hub:wikimedia/wikipedia@{SHA}", "config": "20231101.de", "split": "train",
              "revision": SHA, "columns": ["text"]}  # fmt: skip
    tokenizer = "hub:google-bert/bert-base-uncased@" + SHA
    outcome = {"block_length": 128, "tokens": 42_000_000}
    root.stage("pack", "128", {"sources": [source], "tokenizer": tokenizer}, outcome, model=False)
    encoder = root.pretrain()
    german = facts_of_run(root.folder(encoder))
    assert metadata_of(german)["language"] == "de"
    card = render(german, picture=False).markdown
    assert "English" not in card
    assert "Its text is in `de` (ISO 639). The tokenizer drops case, accents and vowel signs" in card
    both = facts_of_run(root.folder(root.tuned(encoder, 0.8)))
    assert metadata_of(both)["language"] == ["de", "en"]


def test_an_exported_student_has_tags_and_examples(tmp_path: Path) -> None:
    metadata = metadata_of(CARDS["shipped"](tmp_path))
    assert metadata["tags"][-2:] == ["onnx", "transformers.js"]
    texts = [example["text"] for example in metadata["widget"]]
    assert texts == ["two long hours of my life gone", "a gripping and clever film"]
    for example in metadata["widget"]:
        assert sum(each["score"] for each in example["output"]) == pytest.approx(1, abs=2e-3)


def test_texts_of_ones_own_are_no_examples(tmp_path: Path) -> None:
    root = Root(tmp_path)
    task = {"name": "mine", "columns": ["text"], "content": ["sha256:" + 64 * "a"], "validation": True}
    student = root.tuned(root.adopt(), 0.8, task=task)
    root.evaluated(student, [[-0.5, 0.5], [1.0, 0.0]])
    facts = facts_of_run(root.folder(student))
    assert facts.confidence is not None
    assert "widget" not in metadata_of(facts)


def test_the_metadata_of_all_24_is_sound() -> None:
    for known in STUDENTS:
        metadata = metadata_of(facts_of_student(known))
        assert metadata["pipeline_tag"] == "fill-mask"
        assert not {"model-index", "datasets", "base_model", "metrics"} & metadata.keys()


@pytest.mark.parametrize(
    "name", ["", "Bert", "a b", "a/b", "-a", "a.git", "a--b", "a..b", "ü", "a\n", "a" * 97, "../a"]
)
def test_names_that_no_repository_has_are_refused(name: str) -> None:
    with pytest.raises(CardError, match="`name`"):
        render(replace(facts_of_student(Student(2, 128)), name=name), picture=False)


@pytest.mark.parametrize("namespace", ["", "a/b", "a b", "-"])
def test_namespaces_that_nobody_has_are_refused(namespace: str) -> None:
    with pytest.raises(CardError, match="`namespace`"):
        render(facts_of_student(Student(2, 128), namespace=namespace), picture=False)


@pytest.mark.parametrize("name", [*CARDS, *map(str, STUDENTS)])
def test_the_hub_takes_every_card(name: str, tmp_path: Path) -> None:
    facts = CARDS[name](tmp_path) if name in CARDS else facts_of_student(Student.parse(name))
    assert card_problems(render(facts, picture=False).markdown) == ([], [])


def test_eval_results_are_in_the_clients_format(student: Facts) -> None:
    card = render(student, picture=False, eval_results=True)
    assert card.eval_results is not None
    (entry,) = parse_eval_result_entries(yaml.safe_load(card.eval_results))
    assert (entry.dataset_id, entry.task_id, entry.value, entry.dataset_revision) == (
        "nyu-mll/glue", "sst2", 0.82, SHA,
    )  # fmt: skip
    assert entry.notes == "dev, accuracy, PD, this model"
    assert card.files[".eval_results/glue.yaml"] == card.eval_results.encode()


def test_eval_results_without_a_score_on_glue_are_refused() -> None:
    with pytest.raises(CardError, match="`eval_results`"):
        render(facts_of_student(Student(2, 128)), eval_results=True)


def test_several_metrics_of_a_task_are_one_entry(tmp_path: Path) -> None:
    root = Root(tmp_path)
    record = root.tuned(None, 0.8, task={"name": "mrpc"})
    scores = {"accuracy": 0.7, "f1": 0.8}
    replace(record, outcome={**record.outcome, "metric": "f1", "validation": scores}).write(
        root.folder(record)
    )
    index = metadata_of(facts_of_run(root.folder(record)))["model-index"]
    (result,) = index[0]["results"]
    assert [(metric["type"], metric["value"]) for metric in result["metrics"]] == [
        ("f1", 0.8),
        ("accuracy", 0.7),
    ]
    assert {found.metric_type for found in model_index_to_eval_results(index)[1]} == {"f1", "accuracy"}


def test_every_metric_has_a_name_on_the_hub_and_every_task_a_title() -> None:
    assert METRIC_IDS.keys() == {*METRICS, "entity_f1"}
    assert GLUE_TITLES.keys() == GLUE_TASKS.keys()
