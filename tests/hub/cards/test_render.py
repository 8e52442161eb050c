"""Cards: same facts, same bytes; nothing in a record breaks out; what was not measured is not there."""

import dataclasses
import re
import struct
from pathlib import Path
from typing import Any

import pytest
import yaml
from goldens import CARDS, GOLDEN
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from small_stages import GLUE_AT, Root
from test_text import NASTY, PARSER

from wellread_hf.errors import CardError
from wellread_hf.hub.cards import Card, Facts, facts_of_run, facts_of_student, render
from wellread_hf.hub.cards.facts import Score
from wellread_hf.hub.cards.family import facts_of_family
from wellread_hf.hub.cards.metadata import metadata_of
from wellread_hf.hub.cards.origins import Origin
from wellread_hf.hub.cards.render import percent
from wellread_hf.models.load import new_classifier
from wellread_hf.models.masked_lm import new_masked_lm
from wellread_hf.students import STUDENTS, Student

ROOT = Path(__file__).parents[3]
# Of the students that were made, without their weights.
RECORDS = ROOT / "docs/family/records"
# Decide what the template says, or are names that `check_name` refuses before anything is rendered.
CHOSEN = {"name", "namespace", "case", "split", "metric", "method"}


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Facts]:
    return {name: made(tmp_path_factory.mktemp(name)) for name, made in CARDS.items()}


@pytest.fixture(scope="module")
def own_task(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """A student of a task of one's own, on pairs of texts, with a test set, taught by a stage beside it."""
    root = Root(tmp_path_factory.mktemp("own"))
    root.pack()
    encoder = root.pretrain()
    task = {"name": "mine", "columns": ["a", "b"], "content": ["hub:me/mine@main"], "config": "c"}
    teacher = root.tuned("hub:google-bert/bert-large-uncased@cached", 0.9, 9, task=task)
    labels = root.label(f"stage:{teacher.digest}:.")
    return facts_of_run(root.folder(root.tuned(encoder, 0.8, 0, labels, task, test=0.7)))


def spoiled(value: Any, text: str, keep: frozenset[str] = frozenset(CHOSEN)) -> Any:
    """Puts a text into every free text of facts, after the scheme of a fingerprint where it is one."""
    if isinstance(value, Student) or not dataclasses.is_dataclass(value):
        return tuple(spoiled(part, text, keep) for part in value) if isinstance(value, tuple) else (
            text if isinstance(value, str) else value
        )  # fmt: skip
    changes = {}
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if field.name in keep:
            continue
        if field.name == "fingerprint":
            changes[field.name] = part.partition(":")[0] + ":" + text
        else:
            changes[field.name] = spoiled(part, text, keep)
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]


def shape(card: Card) -> list[object]:
    """What a card is made of: its headings, tables' rows and cells, fences, and no raw HTML."""
    found: list[object] = []
    tokens = PARSER.parse(card.markdown.partition("\n---\n")[2])
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        assert token.type != "html_block"
        for child in token.children or []:
            assert child.type != "html_inline"
            if child.type in ("link_open", "image"):
                target = str(child.attrs.get("href") or child.attrs.get("src"))
                assert re.match(
                    r"https://(huggingface\.co|arxiv\.org)/|(scores|reliability)\.png$", target
                ), target
        if token.type == "heading_open":
            assert following is not None
            found.append(following.content)
        elif token.type in ("tr_open", "td_open", "th_open", "table_open", "list_item_open", "fence"):
            found.append(token.type)
    return found


@settings(deadline=None, max_examples=30, derandomize=True)
@given(text=st.sampled_from(NASTY) | st.text(min_size=1, max_size=30))
@pytest.mark.parametrize("name", ["pretrained", "adopted", "shipped", "own", "own on the Hub"])
def test_no_text_of_a_record_breaks_out(
    name: str, text: str, facts: dict[str, Facts], own_task: Facts
) -> None:
    # Names of a task on the Hub are in the metadata too; GLUE's tasks have GLUE's names.
    keep = frozenset({*CHOSEN, "fingerprint"} if name == "own on the Hub" else CHOSEN)
    whole = own_task if name.startswith("own") else dataclasses.replace(facts[name], results=())
    card = render(spoiled(whole, text, keep), picture=False)
    bare = render(spoiled(whole, "x", keep), picture=False)
    assert ("model-index" in card.markdown) == (name == "own on the Hub")
    # A command of several lines has more lines in its fence; everything else is the same.
    assert shape(card) == shape(bare)
    head = card.markdown.split("\n---\n")[0].removeprefix("---\n")
    assert yaml.safe_load(head) == metadata_of(spoiled(whole, text, keep))


@pytest.mark.parametrize("name", CARDS)
def test_rows_of_a_table_have_as_many_cells_as_its_head(name: str, facts: dict[str, Facts]) -> None:
    for lines in re.findall(r"(?:^\|.*\n)+", render(facts[name], picture=False).markdown, re.M):
        assert len({line.count("|") for line in lines.splitlines()}) == 1, lines


def test_the_client_reads_the_metadata_it_was_given(facts: dict[str, Facts], own_task: Facts) -> None:
    for known in (*facts.values(), own_task):
        read = ModelCard(render(known, picture=False).markdown).data.to_dict()
        assert read == metadata_of(known)


@pytest.mark.parametrize("name", CARDS)
def test_the_card_is_the_one_that_was_kept(name: str, facts: dict[str, Facts]) -> None:
    kept = (GOLDEN / f"{name}.md").read_text(encoding="utf-8")
    assert render(facts[name]).markdown == kept, "python tests/hub/cards/goldens.py writes them anew"


@pytest.mark.parametrize("name", CARDS)
def test_same_facts_same_bytes(name: str, facts: dict[str, Facts]) -> None:
    first, second = (render(facts[name], eval_results=True).files for _ in range(2))
    assert first == second
    pictures = {"scores.png"} | ({"reliability.png"} if name == "shipped" else set())
    assert set(first) == {"README.md", ".eval_results/glue.yaml"} | pictures


def test_the_picture_has_no_date_and_no_version() -> None:
    picture = render(facts_of_student(Student(4, 256))).picture
    assert picture is not None
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    place, kinds = 8, set()
    while place < len(picture):
        (length,) = struct.unpack(">I", picture[place : place + 4])
        kinds.add(picture[place + 4 : place + 8])
        place += 12 + length
    assert kinds == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


@pytest.fixture(scope="module")
def family() -> dict[Student, Facts]:
    return facts_of_family(RECORDS if RECORDS.is_dir() else None)


@pytest.mark.parametrize("student", STUDENTS, ids=str)
def test_the_kept_card_of_a_student_is_the_one_that_is_rendered(
    student: Student, family: dict[Student, Facts]
) -> None:
    kept = (ROOT / "model_cards" / f"{student.name}.md").read_text(encoding="utf-8")
    facts = family[student]
    command = f"wellread card --all --out model_cards {'--runs docs/family/records' * RECORDS.is_dir()}"
    assert render(facts, picture=False).markdown == kept, f"{command} writes them anew"
    assert f"**{student.name}: {student.parameters():,}**" in kept
    # What was not made has no figures of ours.
    assert ("no weights of ours" in kept) == (facts.run is None)
    assert ("## Scores" in kept) == ("model-index" in kept) == bool(facts.results)


def test_a_score_is_mean_and_sample_standard_deviation_in_percent() -> None:
    # Mean 83; squared distances 9 + 1 + 16 = 26; 26 / 2 = 13; its root 3.61.
    assert percent(Score(split="dev", metric="f1", values=(0.80, 0.82, 0.87))) == "83.0 ± 3.6"
    assert percent(Score(split="dev", metric="f1", values=(0.8149,))) == "81.5"


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValidationError, match="finite"):
        Score(split="dev", metric="f1", values=(0.8, float("nan")))


def test_what_was_not_measured_is_absent(facts: dict[str, Facts], own_task: Facts) -> None:
    for known in (*facts.values(), own_task, facts_of_student(Student(2, 128))):
        bare = dataclasses.replace(known, measured=None)
        for card in (render(known, picture=False).markdown, render(bare, picture=False).markdown):
            assert not re.search(r"\b(None|nan|inf|n/a|unknown|undefined)\b", card), known.name
            assert ("## Latency" in card) == (known.latency is not None)
        assert "size of `model.safetensors`" not in render(bare, picture=False).markdown


def test_the_choice_links_to_what_is_pushed_beside_it_alone(facts: dict[str, Facts]) -> None:
    known = facts["shipped"]
    link = "| [bert-4-256-sst2](https://huggingface.co/readers/bert-4-256-sst2) | PF | torch | 50.0"
    assert link in render(known, picture=False).markdown
    alone = render(dataclasses.replace(known, beside=()), picture=False).markdown
    assert "| bert-4-256-sst2 | PF | torch | 50.0" in alone
    assert "**bert-2-128-sst2** | PF | onnx-int8" in alone


def test_a_refused_int8_is_no_example(tmp_path: Path) -> None:
    root = Root(tmp_path)
    student = root.tuned(root.adopt(), 0.82)
    root.exported(student, refused="its score falls by 2.1 points")
    card = render(facts_of_run(root.folder(student)), picture=False).markdown
    assert 'folder / "onnx" / "model.onnx"' in card
    assert 'dtype: "fp32"' in card
    assert "`onnx/model_quantized.onnx` was refused: its score falls by 2.1 points." in card


def test_published_figures_stay_out_of_the_metadata(facts: dict[str, Facts]) -> None:
    card = render(facts["adopted"], picture=False)
    head, _, body = card.markdown.partition("\n---\n")
    assert "64.2" in body
    assert "theirs, not ours" in body
    assert "64.2" not in head
    assert "83.2" not in head
    assert metadata_of(facts["adopted"])["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.83


def test_weights_from_elsewhere_are_not_called_googles(facts: dict[str, Facts]) -> None:
    known = facts["adopted"].adoption
    assert known is not None
    for fingerprint in ("sha256:" + 64 * "a", f"hub:me/copy@{40 * 'b'}"):
        copied = dataclasses.replace(known, source=Origin(fingerprint=fingerprint))
        card = render(dataclasses.replace(facts["adopted"], adoption=copied), picture=False).markdown
        assert "Google's weights**" not in card
        assert "are Google's" not in card
        assert "not trained by us" in card
        assert "\nlicense: unknown\n" in card
        assert "None" not in card


def test_an_own_task_is_in_the_index_by_its_data_set(own_task: Facts) -> None:
    dev, test = metadata_of(own_task)["model-index"][0]["results"]
    assert dev["dataset"] == {"name": "mine", "type": "me/mine", "config": "c", "split": "validation"}
    assert (dev["metrics"][0]["value"], test["metrics"][0]["value"]) == (0.8, 0.7)
    assert test["dataset"]["split"] == "test"
    card = render(own_task, picture=False).markdown
    assert "| `mine` | PD (this model) | test | accuracy | 70.0 |" in card
    assert "text_pair" in card


@pytest.fixture(scope="module")
def models(toy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("models")
    tokenizer = AutoTokenizer.from_pretrained(toy_folder / "tokenizer")
    new_masked_lm(Student(2, 128), len(tokenizer), 0.1, 0).save_pretrained(folder / "encoder")
    new_classifier(Student(2, 128), len(tokenizer), ("a", "b"), 0).save_pretrained(folder / "classifier")
    for name in ("encoder", "classifier"):
        tokenizer.save_pretrained(folder / name)
    return {"encoder": folder / "encoder", "classifier": folder / "classifier"}


@pytest.mark.parametrize("name", ["pretrained", "task_student", "own", "student"])
def test_the_code_in_a_card_runs(
    name: str,
    facts: dict[str, Facts],
    own_task: Facts,
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = {**facts, "own": own_task, "student": facts_of_student(Student(2, 128))}[name]
    blocks = re.findall(r"```python\n(.*?)```", render(known, picture=False).markdown, re.S)
    assert len(blocks) == (3 if known.task is None else 2)
    named = f'model = "{known.repo_id if known.run else known.student.release}"'
    here = f"model = {str(models['encoder' if known.task is None else 'classifier'])!r}"
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks:
        assert block.count(named) == 1
        exec(block.replace(named, here), names)
    assert names["trainer"].state.global_step == 3
    if known.task is None:
        assert names["features"].shape == (2, 128)
    assert capsys.readouterr().out


def test_a_regression_student_gives_numbers(tmp_path: Path) -> None:
    root = Root(tmp_path)
    task = {"name": "stsb", "content": [GLUE_AT]}
    record = root.tuned(None, 0.8, task=task)
    card = render(facts_of_run(root.folder(record)), picture=False).markdown
    assert 'function_to_apply="none"' in card
    assert "DistillationTrainer" not in card
    assert "text_pair" in card


def test_an_access_token_in_a_command_is_refused(facts: dict[str, Facts]) -> None:
    run = facts["pretrained"].run
    assert run is not None
    leaking = dataclasses.replace(run, command="x.py --token hf_" + "a" * 34)
    with pytest.raises(CardError, match="token"):
        render(dataclasses.replace(facts["pretrained"], run=leaking), picture=False)
