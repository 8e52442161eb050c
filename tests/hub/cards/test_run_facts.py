"""From records to facts: seeds grouped, budgets apart, methods named, gaps left open."""

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_stages import GLUE_AT, SHA, Root, chain

from wellread_hf.errors import StoreError, WellreadError
from wellread_hf.hub.cards import facts_of_run, render
from wellread_hf.hub.cards.facts import Facts
from wellread_hf.hub.cards.origins import Origin
from wellread_hf.store.records import RECORD, StageRecord


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A folder of stages with a packed corpus."""
    root = Root(tmp_path)
    root.pack()
    return root


def of(root: Root, record: StageRecord, **names: Any) -> Facts:
    return facts_of_run(root.folder(record), **names)


def rows(facts: Facts) -> dict[str, tuple[float, ...]]:
    assert len({result.method for result in facts.results}) == len(facts.results)
    return {result.method: result.first.values for result in facts.results}


def test_a_pretrained_student_has_what_was_made_of_it_and_no_more(tmp_path: Path) -> None:
    records = chain(tmp_path)
    facts = of(Root(tmp_path), records["encoder"])
    assert rows(facts) == {"PD": (0.80, 0.82, 0.87), "PD-F": (0.84,), "PF": (0.79, 0.81)}
    assert (facts.name, facts.vocabulary, facts.task, facts.base) == ("bert-2-128", 8000, None, None)
    assert facts.measured is not None
    assert facts.measured.weights == 15


def test_a_card_says_what_else_was_learnt_than_masked_words(root: Root) -> None:
    distil = {
        "teacher": f"hub:me/deep@{SHA}",
        "temperature": 2.0,
        "mlm_weight": 2.0,
        "soft_weight": 5.0,
        "cosine_weight": 1.0,
    }
    ways = (root.pretrain(), root.pretrain(next_sentence=True), root.pretrain(distil=distil))
    plain, pairs, taught = (dict(of(root, record).pretraining.schedule) for record in ways)  # type: ignore[union-attr]
    assert pairs.items() - plain.items() == {("next-sentence prediction", "yes")}
    assert taught.items() - plain.items() == {
        ("DistilBERT's loss", "teacher me/deep; T 2; weights: MLM 2, soft 5, cosine 1")
    }


def test_a_card_of_patient_kd_says_so_and_counts_soft_labelled_rows(root: Root) -> None:
    encoder, labels = root.pretrain(), root.label()
    for method, words in (
        ("patient", "**Patient KD** (Sun"),
        ("logit-mse", "in another way than the paper's"),
    ):
        record = root.tuned(encoder, 0.8, labels=labels, method=method)
        card = render(of(root, record), picture=False).markdown
        assert words in card
        assert "67,349 with soft labels" in card
        assert "67,349 soft-labelled" in card
        assert f"as the method `{method}` has it" in card


def test_tf_stands_beside_basic_with_the_tokenizer_of_its_source(root: Root) -> None:
    source = {"source": f"stage:{root.pretrain().digest}:.", "keep": "first", "tokenizer": None}
    student = root.tuned(root.stage("init", "bert-2-128-first", source, {}), 0.8)
    root.tuned(None, 0.7)
    assert rows(of(root, student)) == {"TF": (0.8,), "Basic": (0.7,)}


def test_a_student_of_parts_of_another_model_is_tf_and_no_pd_and_starts_from_that_model(
    tmp_path: Path,
) -> None:
    root = Root(tmp_path)
    labels = root.label()
    found = {}
    for keep in ("first", "embeddings"):
        said = {"source": f"hub:me/deep@{SHA}", "keep": keep, "tokenizer": None}
        start = root.stage("init", f"bert-2-128-{keep}", said, {})
        tuned, taught = root.tuned(start, 0.8), root.tuned(start, 0.81, labels=labels)
        for record in (tuned, taught):
            facts = of(root, record, namespace="me")
            assert facts.base == Origin(fingerprint=f"hub:me/deep@{SHA}")
            assert "me/deep" in render(facts, picture=False).markdown
        found[keep] = [of(root, record).results[0].method for record in (tuned, taught)]
    assert found == {
        "first": ["TF", "Another distillation"],
        "embeddings": ["Fine-tuning", "Another distillation"],
    }


def test_a_task_student_stands_beside_the_other_methods(tmp_path: Path) -> None:
    records = chain(tmp_path)
    facts = of(Root(tmp_path), records["pd"])
    assert facts.own is facts.results[0]
    assert (facts.own.method, facts.own.this_seed, facts.own.seeds) == ("PD", 1, (0, 1, 2))
    assert set(rows(facts)) == {"PD", "PD-F", "PF", "Basic", "Distillation"}
    assert facts.name == "bert-2-128-sst2"
    assert facts.pretraining is not None
    assert facts.pretraining.loss == 3.25


@pytest.mark.parametrize(
    ("key", "method"),
    [("pd", "PD"), ("pdf", "PD-F"), ("pf", "PF"), ("basic", "Basic"), ("distillation", "Distillation")],
)
def test_methods_have_the_papers_names(tmp_path: Path, key: str, method: str) -> None:
    own = of(Root(tmp_path), chain(tmp_path)[key]).own
    assert own is not None
    assert own.method == method
    assert (own.teaching is None) == (method in ("PF", "Basic"))


def test_seeds_of_pd_f_that_start_from_seeds_of_pd_are_one_result(root: Root) -> None:
    encoder, labels = root.pretrain(), root.label()
    for seed in (0, 1):
        root.tuned(root.tuned(encoder, 0.8, seed, labels), 0.85 + 0.01 * seed, seed)
    (result,) = [result for result in of(root, encoder).results if result.method == "PD-F"]
    assert result.first.values == (0.85, 0.86)


def test_the_best_choice_of_settings_counts_by_its_mean_on_dev(root: Root) -> None:
    encoder = root.pretrain()
    for seed, (low, high) in enumerate(((0.80, 0.70), (0.82, 0.95))):
        root.tuned(encoder, low, seed, learning_rate=1e-4)
        root.tuned(encoder, high, seed, learning_rate=3e-4, test=0.99)
    # Means 0.810 and 0.825; one test score of the first would decide otherwise.
    (result,) = of(root, encoder).results
    assert (result.first.values, result.learning_rate) == ((0.70, 0.95), 3e-4)


def test_a_card_mentions_lora(root: Root) -> None:
    encoder = root.pretrain()
    whole, adapted = root.tuned(encoder, 0.79), root.tuned(encoder, 0.82, lora_rank=8)
    (best,) = of(root, encoder).results
    assert (best.lora_rank, best.first.values) == (8, (0.82,))
    assert "PF, LoRA of rank 8 |" in render(of(root, encoder), picture=False).markdown
    assert "| weights trained | LoRA of rank 8" in render(of(root, adapted), picture=False).markdown
    assert "LoRA" not in render(of(root, whole), picture=False).markdown


@pytest.mark.parametrize(
    "other",
    [{"task": {"train_rows": 3000}}, {"epochs": 9.0}, {"max_length": 64}],
    ids=["rows", "epochs", "length"],
)
def test_budgets_are_not_mixed(root: Root, other: dict[str, Any]) -> None:
    encoder, labels = root.pretrain(), root.label()
    student = root.tuned(encoder, 0.8, 0, labels)
    root.tuned(encoder, 0.7)
    root.tuned(encoder, 0.9, **other)
    assert rows(of(root, student)) == {"PD": (0.8,), "PF": (0.7,)}
    scores = sorted(result.first.values for result in of(root, encoder).results)
    assert scores == [(0.7,), (0.8,), (0.9,)]


def test_other_soft_labels_encoders_and_sizes_are_not_compared(root: Root) -> None:
    encoder, labels = root.pretrain(), root.label()
    other = root.label("sha256:" + "ef" * 32)
    student = root.tuned(encoder, 0.8, 0, labels)
    root.tuned(None, 0.9, labels=other)
    root.tuned(root.pretrain(seed=1), 0.9)
    assert rows(of(root, student)) == {"PD": (0.8,)}


def test_a_classifier_without_scores_is_refused(tmp_path: Path) -> None:
    root = Root(tmp_path)
    record = root.tuned(None, 0.8)
    replace(record, outcome={**record.outcome, "validation": {}}).write(root.folder(record))
    with pytest.raises(StoreError, match="at least 1 item"):
        of(root, record)


def test_what_is_gone_is_absent(tmp_path: Path) -> None:
    records = chain(tmp_path)
    root = Root(tmp_path)
    for kind in ("pack", "label"):
        for folder in tmp_path.glob(f"{kind}-*"):
            shutil.rmtree(folder)
    encoder = of(root, records["encoder"])
    assert encoder.pretraining is not None
    assert (encoder.pretraining.sources, encoder.pretraining.corpus_tokens) == ((), None)
    student = of(root, records["pd"])
    assert student.own is not None
    assert student.own.teaching is None
    card = render(student, picture=False).markdown
    assert "| teacher |" not in card
    assert "tokens in the corpus" not in card


def test_a_model_alone_has_a_card(tmp_path: Path) -> None:
    records = chain(tmp_path / "runs")
    alone = tmp_path / "elsewhere" / "model"
    shutil.copytree(Root(tmp_path / "runs").folder(records["pdf"]), alone)
    facts = facts_of_run(alone)
    # Whether its start was an encoder or a distilled student cannot be known.
    assert rows(facts) == {"Fine-tuning": (0.84,)}
    assert "started from" in render(facts, picture=False).markdown


def test_a_damaged_neighbour_is_left_out(tmp_path: Path) -> None:
    records = chain(tmp_path)
    root = Root(tmp_path)
    (root.folder(records["pf"]) / RECORD).write_text("{")
    (tmp_path / "finetune-half-000000000000").mkdir()
    assert rows(of(root, records["encoder"]))["PF"] == (0.81,)


def test_googles_weights_are_googles(tmp_path: Path) -> None:
    root = Root(tmp_path)
    adopted = root.adopt()
    student = of(root, root.tuned(adopted, 0.8))
    assert student.own is not None
    assert student.own.method == "PF"
    assert student.adoption is not None
    assert student.base is not None
    assert student.base.hub_id == "google/bert_uncased_L-2_H-128_A-2"
    facts = of(root, adopted)
    assert facts.adoption is not None
    assert (facts.adoption.parity, facts.adoption.source.revision) == (3.1e-6, SHA)
    assert "Nothing was trained anew" in render(facts, picture=False).markdown


def test_a_pretraining_that_went_on_names_its_start(root: Root) -> None:
    adopted, encoder = root.adopt(), root.pretrain()
    went_on = {**encoder.settings, "start": f"stage:{adopted.digest}:.", "student": None}
    facts = of(root, root.stage("pretrain", "bert-2-128-seed0", went_on, encoder.outcome))
    assert facts.base is not None
    assert facts.base.hub_id == "google/bert_uncased_L-2_H-128_A-2"
    assert "base_model: google/bert_uncased_L-2_H-128_A-2" in render(facts, picture=False).markdown


def test_the_base_is_the_encoders_repository_where_it_has_one(tmp_path: Path) -> None:
    records = chain(tmp_path)
    root = Root(tmp_path)

    def base(**names: str) -> str | None:
        found = of(root, records["pd"], **names).base
        assert found is not None
        return found.hub_id

    assert base() is None
    assert base(namespace="me") == "me/bert-2-128"


@pytest.mark.parametrize(
    ("fingerprint", "hub_id", "revision"),
    [
        (f"hub:a/b@{SHA}", "a/b", SHA),
        ("hub:a/b@main", "a/b", None),
        ("hub:a/b@cached", "a/b", None),
        (f"hub:gpt2@{SHA}", "gpt2", SHA),
        (f"hub:a/b)](evil@{SHA}", None, None),
        (f"hub:a/b\n@{SHA}", None, None),
        (f"hub:a//b@{SHA}", None, None),
        (f"sha256:a/b@{SHA}", None, None),
    ],
)
def test_a_hub_id_is_read_off_a_fingerprint(
    fingerprint: str, hub_id: str | None, revision: str | None
) -> None:
    origin = Origin(fingerprint=fingerprint)
    assert (origin.hub_id, origin.revision) == (hub_id, revision)


@pytest.mark.parametrize(
    ("task", "glue", "config", "validation"),
    [
        ({"name": "mnli", "content": [GLUE_AT]}, True, "mnli", "validation_matched"),
        ({"name": "sst2", "content": ["sha256:ab"]}, True, "sst2", "validation"),
        (
            {"name": "sst2", "content": ["sha256:ab", "sha256:cd"], "validation": True},
            False,
            None,
            "validation",
        ),
        ({"name": "sst2", "content": [f"hub:me/other@{SHA}"]}, False, None, "validation"),
        ({"name": "sst2", "content": ["sha256:ab"], "columns": ["x"]}, False, None, "validation"),
    ],
    ids=["mnli", "a copy of GLUE", "a file called sst2", "another data set", "other columns"],
)
def test_glue_is_not_confused_with_what_bears_its_names(
    tmp_path: Path, task: dict[str, Any], glue: bool, config: str | None, validation: str
) -> None:
    root = Root(tmp_path)
    found = of(root, root.tuned(None, 0.8, task=task)).task
    assert found is not None
    assert (found.glue, found.config, found.validation) == (glue, config, validation)


def test_unfinished_runs_and_other_stages_are_refused(tmp_path: Path) -> None:
    root = Root(tmp_path)
    (tmp_path / "half").mkdir()
    with pytest.raises(StoreError, match="expected a finished stage"):
        facts_of_run(tmp_path / "half")
    with pytest.raises(StoreError, match=r"a stage .pack.: expected a model of"):
        of(root, root.pack())
    large = root.stage("finetune", "teacher", {}, {}, layers=24, hidden=1024)
    with pytest.raises(StoreError, match="cards are for the 24 students"):
        of(root, large)
    with pytest.raises(StoreError, match="expected a finished stage as this version leaves it"):
        of(root, root.stage("finetune", "bert-2-128-x-seed0", {"start": {}}, {}))


@pytest.mark.parametrize("damage", [b"", b"x" * 20, b"\xff" * 8 + b"{}", b"\x02" + bytes(7) + b"[]"])
def test_damaged_weights_are_refused(tmp_path: Path, damage: bytes) -> None:
    root = Root(tmp_path)
    record = root.adopt()
    (root.folder(record) / "model.safetensors").write_bytes(damage)
    with pytest.raises(StoreError, match="is damaged"):
        of(root, record)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [path, *(place for key in value for place in _places(value[key], (*path, key)))]
    if isinstance(value, list):
        return [path, *(place for key, part in enumerate(value) for place in _places(part, (*path, key)))]
    return [path]


@pytest.fixture(scope="module")
def stages_here(tmp_path_factory: pytest.TempPathFactory) -> tuple[Root, dict[str, StageRecord]]:
    folder = tmp_path_factory.mktemp("stages_here")
    return Root(folder), chain(folder)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(data=st.data())
def test_whatever_a_record_says_there_is_a_card_or_one_sentence(
    data: st.DataObject, stages_here: tuple[Root, dict[str, StageRecord]]
) -> None:
    root, records = stages_here
    path = root.folder(records[data.draw(st.sampled_from(["encoder", "pd", "labels", "pf"]))]) / RECORD
    kept = path.read_text()
    try:
        record = json.loads(kept)
        *inside, last = data.draw(st.sampled_from(_places(record)[1:]))
        holder = record
        for key in inside:
            holder = holder[key]
        holder[last] = data.draw(
            st.none() | st.booleans() | st.integers(-3, 10**6) | st.floats() | st.text(max_size=9)
            | st.sampled_from(["<b>", "a|b", "`", [], {}, ["x"], "stage:ab:.", "hub:a/b@main"])
        )  # fmt: skip
        path.write_text(json.dumps(record))
        for name in ("encoder", "pd", "pf"):
            with suppress(WellreadError):
                render(facts_of_run(root.folder(records[name])), picture=False)
    finally:
        path.write_text(kept)


def test_a_pruned_student_has_its_own_score(tmp_path: Path) -> None:
    root = Root(tmp_path)
    encoder = root.adopt()
    pruned = root.pruned(root.tuned(encoder, 0.82))
    with pytest.raises(StoreError, match="run wellread eval"):
        facts_of_run(root.folder(pruned))
    root.evaluated(pruned, [[-0.5, 0.5], [0.0, 1.0]])
    root.exported(pruned)
    facts = facts_of_run(root.folder(pruned))
    assert facts.name == "bert-2-128-sst2-v4000"
    assert facts.own is not None
    assert [score.values for score in facts.own.scores] == [(0.5,)]
    assert facts.exported is not None
    assert facts.adoption is not None
    assert "of 8,000 before it was pruned" in render(facts, picture=False).markdown
    # One that was taught after it was pruned is a student as all others are.
    taught = facts_of_run(root.folder(root.tuned(root.pruned(encoder), 0.8)))
    assert (taught.name, taught.adoption, taught.own.method) == ("bert-2-128-sst2", facts.adoption, "PF")  # type: ignore[union-attr]
