"""A family's cards distinguish grown, adopted and trained students, and compare them, from records alone."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small_stages import Root

from wellread_hf.cli.wellread import main
from wellread_hf.errors import PublishError, StoreError
from wellread_hf.hub.cards import Facts, facts_of_run, render
from wellread_hf.hub.cards.family import facts_of_family, family_files
from wellread_hf.hub.uploads import upload_of_run, uploads_of_runs
from wellread_hf.results.lineage import Stages, each_read_once
from wellread_hf.store.records import RECORD, StageRecord
from wellread_hf.students import STUDENTS, Student

TINY, DEEPER = Student(2, 128), Student(4, 128)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """2-128 from random weights and as Google's, 4-128 grown from ours; both of ours fine-tuned twice."""
    here = Root(tmp_path_factory.mktemp("family"))
    here.pack()
    tiny = here.pretrain()
    deeper = here.pretrain(student="bert-4-128", start=f"stage:{here.grown(tiny).digest}:.")
    here.adopt()
    for seed in (0, 1):
        here.tuned(tiny, 0.80 + seed / 100, seed=seed)
        here.tuned(deeper, 0.84 + seed / 100, seed=seed, student="bert-4-128")
    # Another one of a size, that nothing was learnt with, stands for none.
    here.pretrain(seed=1, student="bert-4-128")
    # Of no encoder: a student from random weights, and a damaged record.
    here.tuned(None, 0.6)
    (here.path / "pretrain-damaged-000000000000").mkdir()
    (here.path / "pretrain-damaged-000000000000" / RECORD).write_text("{}")
    return here


@pytest.fixture(scope="module")
def family(root: Root) -> dict[Student, Facts]:
    return facts_of_family(root.path, "readers")


def test_a_grown_student_says_from_what_and_how(family: dict[Student, Facts]) -> None:
    card = render(family[DEEPER], picture=False).markdown
    assert "grown from a trained bert-2-128 and pre-trained" in card
    assert re.search(
        r"\| started from \| a trained bert-2-128, stage `[0-9a-f]{12}` of this package \|", card
    )
    assert "| grown by | stacking its layers 1 2 1 2 |" in card
    wider = replace(family[DEEPER], student=Student(4, 256))
    assert "1 2 1 2 and widening them from 128 to 256 |" in render(wider, picture=False).markdown


def test_a_card_shows_the_family_with_its_own_line_in_bold(family: dict[Student, Facts]) -> None:
    card = render(family[TINY], picture=False).markdown
    section = card.partition("## Beside its siblings")[2].partition("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("|")] == [
        "| encoder | weights | million tokens seen | masked-LM loss, nats | SST-2, PF |",
        "| --- | --- | --- | --- | --- |",
        "| bert-2-128 | Google's weights, adopted |  |  |  |",
        "| **bert-2-128** | pre-trained from random weights | 126.0 | 3.25 | 80.5 ± 0.7 |",
        "| bert-4-128 | grown from bert-2-128, pre-trained | 126.0 | 3.25 | 84.5 ± 0.7 |",
    ]


def test_a_pre_training_that_went_on_counts_from_its_first_run(tmp_path: Path) -> None:
    here = Root(tmp_path)
    here.pack()
    first = here.pretrain()
    second = here.pretrain(seed=1, start=f"stage:{first.digest}:.")
    facts = facts_of_run(here.folder(second))
    assert facts.made == "pre-trained from random weights"
    card = render(facts, picture=False).markdown
    assert "| started from | an earlier pre-training of the same student on 126,000,000 tokens, stage" in card
    here.pretrain(student="bert-4-128")
    (mine, _) = facts_of_run(here.folder(second)).siblings
    assert (mine.this, mine.tokens) == (True, 252_000_000)


def test_an_encoder_alone_has_no_siblings(tmp_path: Path) -> None:
    here = Root(tmp_path)
    here.pack()
    card = render(facts_of_run(here.folder(here.pretrain())), picture=False).markdown
    assert "siblings" not in card


def test_notes_of_a_collection_tell_adopted_trained_and_grown_apart(
    family: dict[Student, Facts], root: Root
) -> None:
    assert family[TINY].made == "pre-trained from random weights"
    assert family[DEEPER].made == "grown from bert-2-128, pre-trained"
    adopted, trained = root.path.glob("adopt-*"), root.path.glob("pretrain-bert-2-128-*")
    pair = [*adopted, *trained]
    for folder in pair:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_text("{}")
        config = json.loads((folder / "config.json").read_text())
        named = config | {"model_type": "bert", "architectures": ["BertForPreTraining"]}
        (folder / "config.json").write_text(json.dumps(named))
    sizes = "L = 2, H = 128, 0.0M parameters"
    upload = upload_of_run(pair[0], "readers")
    assert upload.note == f"{sizes}, Google's weights, adopted"
    # Of one size, both can be pushed if one gets a name of its own, which the refusal gives.
    with pytest.raises(PublishError) as refused:
        uploads_of_runs(pair[::-1], "readers", None, False)
    found = re.search(
        r"are named bert-2-128, of pretrain-\S+ \(pre-trained from random weights\) and of adopt-\S+ "
        r"\(Google's weights, adopted\); .* with a `name`, such as (\S+)$",
        str(refused.value),
    )
    assert found is not None
    (upload,) = uploads_of_runs(pair[:1], "readers", found[1], False)
    assert (upload.name, upload.note) == ("bert-2-128-adopt", f"{sizes}, Google's weights, adopted")
    assert "readers/bert-2-128-adopt" in upload.files["README.md"].text()
    (upload,) = uploads_of_runs(pair[1:], "readers", None, False)
    assert (upload.name, upload.note) == ("bert-2-128", f"{sizes}, pre-trained from random weights")


def test_cards_made_from_one_reading_are_those_of_a_reading_each(root: Root) -> None:
    folders = [
        stages.parent for kind in ("adopt", "pretrain") for stages in root.path.glob(f"{kind}-*/config.json")
    ]
    each = [facts_of_run(folder) for folder in folders]
    with each_read_once():
        assert [facts_of_run(folder) for folder in folders] == each
        assert Stages.read(root.path) is Stages.read(root.path)
    assert Stages.read(root.path) is not Stages.read(root.path)


def test_kept_records_give_the_same_cards_without_weights(root: Root, family: dict[Student, Facts],
                                                          tmp_path: Path) -> None:  # fmt: skip
    files = family_files(root.path)
    assert {path.rpartition("/")[2] for path in files} == {RECORD, "config.json", "table.md", "chart.png"}
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    again = facts_of_family(tmp_path / "records", "readers")
    for student in STUDENTS:
        bare = replace(family[student], measured=None)
        # The pre-training that stands for no size is not kept, nor is Google's: it stands for none either.
        assert replace(again[student], siblings=()) == replace(bare, siblings=())
    assert [each.student for each in again[TINY].siblings] == [TINY, DEEPER]
    kept = [path for path in files if path.startswith("records/pretrain-")]
    assert len({path.split("/")[1] for path in kept}) == 2


def test_kept_records_have_no_places_of_a_machine(root: Root, tmp_path: Path) -> None:
    here = Root(tmp_path)
    here.pack()
    for student in ("bert-2-128", "bert-4-128"):
        folder = here.folder(here.pretrain(student=student))
        record = StageRecord.read(folder)
        replace(record, command="wellread pretrain --corpus /home/me/secret/text.txt").write(folder)
    files = family_files(here.path)
    commands = [json.loads(text)["command"] for path, text in files.items() if path.endswith(RECORD)]
    assert "wellread pretrain --corpus text.txt" in commands
    assert not any(b"/home/me" in content for content in files.values())
    # Nothing was learnt with them, so there is nothing to draw.
    assert "chart.png" not in files


def test_one_size_is_no_family(tmp_path: Path) -> None:
    here = Root(tmp_path)
    here.pack()
    here.pretrain()
    with pytest.raises(StoreError, match=r"encoders of two sizes or more .* found 1"):
        family_files(tmp_path)


def test_the_command_writes_cards_and_what_is_kept(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards, kept = tmp_path / "cards", tmp_path / "kept"
    command = f"wellread card --all --runs {root.path} --out {cards} --keep {kept}"
    monkeypatch.setattr(sys, "argv", command.split())
    main()
    assert len(list(cards.iterdir())) == 24
    assert "## Scores" in (cards / "bert-4-128.md").read_text()
    assert "no weights of ours" in (cards / "bert-4-256.md").read_text()
    assert {path.name for path in kept.iterdir()} == {"records", "table.md", "chart.png"}
