"""What comes down is what went up: after a push, for a user, and for soft labels."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import HubServer
from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData
from pushes import CARD, push, states, upload
from row_encoders import label_with, of_bert
from safetensors.numpy import load, save
from transformers import AutoTokenizer, BertConfig, BertForPreTraining, BertForSequenceClassification

from wellread_hf.errors import HubError, SourceError, StoreError
from wellread_hf.hub.download import check_loads
from wellread_hf.hub.files import LocalFile, Upload
from wellread_hf.hub.pull import pull_soft_labels
from wellread_hf.hub.uploads import model_upload, upload_of_run
from wellread_hf.hub.verify import verify
from wellread_hf.labelling.soft_labels import SoftLabels
from wellread_hf.settings import Label
from wellread_hf.store.records import StageRecord

NAME = "alice/bert-2-128"
pytestmark = pytest.mark.usefixtures("quick_waits")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    for module in ("huggingface_hub.constants", "huggingface_hub.file_download"):
        monkeypatch.setattr(f"{module}.HF_HUB_CACHE", str(tmp_path / "cache"), raising=False)
    return tmp_path / "cache"


@pytest.fixture
def model(finished: Path) -> Upload:
    return upload_of_run(finished, "alice")


def test_after_a_push_every_hash_in_the_tree_is_compared(hub: HubServer, api: HfApi) -> None:
    # A hub that commits something else than it was given.
    def commit_other(request: Any) -> None:
        lines = request.body.splitlines()
        changed = [line for line in lines if b"config.json" not in line]
        request.body = b"\n".join(changed)

    hub.before("/commit/", commit_other)
    report = push(api)
    assert (report.status, states(report)) == (1, ["failed"])
    assert "config.json there and here differ" in report.repositories[0].error
    assert not hub.repository(NAME).tags


def test_a_bit_that_flips_on_the_way_down_is_noticed_when_downloads_are_checked(
    hub: HubServer, api: HfApi
) -> None:
    hub.after("/commit/", lambda _: hub.repository(NAME).corrupt("model.safetensors"))
    report = push(api, verify="download")
    assert (report.status, states(report)) == (1, ["failed"])
    assert "model.safetensors came down" in report.repositories[0].error
    # It has no tag, so the next run checks it again rather than call it done.
    assert not hub.repository(NAME).tags
    assert push(api, verify="download").status == 1
    hub.repository(NAME).corrupt("model.safetensors")
    report = push(api, verify="download")
    assert (report.status, states(report)) == (0, ["unchanged"])
    assert len(hub.repository(NAME).commits) == 2


def _negated_is_noticed(hub: HubServer, api: HfApi, model: Upload, ending: str) -> None:
    """Commits the pushed model with one weight negated, and sees that it is refused for its logits."""
    weights = load(hub.repository(NAME).read("model.safetensors"))
    (name,) = (name for name in weights if name.endswith(ending))
    other = hub.repository(NAME).commit_directly(
        {"model.safetensors": save(weights | {name: -weights[name]})}
    )
    with pytest.raises(HubError, match="logits differ"):
        check_loads(api, NAME, model, other)


@pytest.mark.long
@pytest.mark.slow
def test_a_model_that_loads_with_other_logits_is_noticed(
    hub: HubServer, api: HfApi, model: Upload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in hub.environment(tmp_path / "home", "alice").items():
        monkeypatch.setenv(name, value)
    assert push(api, model, verify="load").status == 0
    _negated_is_noticed(hub, api, model, "cls.predictions.transform.dense.weight")


@pytest.mark.long
def test_of_a_model_with_two_heads_both_are_compared(
    hub: HubServer, api: HfApi, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in hub.environment(tmp_path / "home", "alice").items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "model"
    torch.manual_seed(0)
    BertForPreTraining.from_pretrained(finished).save_pretrained(folder)
    AutoTokenizer.from_pretrained(finished).save_pretrained(folder)
    files: dict[str, Path | bytes] = {path.name: path for path in folder.iterdir()}
    files["README.md"] = CARD
    pushed = {name: LocalFile(name, content) for name, content in files.items()}
    model = Upload(name="bert-2-128", files=pushed)
    assert push(api, model, verify="load").status == 0
    _negated_is_noticed(hub, api, model, "cls.seq_relationship.weight")


def test_verify_downloads_compares_and_loads(
    hub: HubServer, api: HfApi, model: Upload, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(api, model)
    found = verify(NAME, api=api)
    assert (found.model, found.revision) == ("BertForMaskedLM", hub.repository(NAME).head)
    # .gitattributes is the Hub's.
    assert found.files == len(model.files) + 1
    assert cache.is_dir()
    assert verify(NAME, revision="v1.0", api=api).revision == hub.repository(NAME).head


def test_verify_notices_one_bit_and_names_the_file(
    hub: HubServer, api: HfApi, model: Upload, cache: Path
) -> None:
    push(api, model)
    hub.repository(NAME).corrupt("model.safetensors")
    with pytest.raises(HubError, match=r"model\.safetensors at .* is not what the Hub says") as refused:
        verify(NAME, api=api)
    assert refused.value.status == 1
    hub.repository(NAME).corrupt("model.safetensors")
    # The cache does not heal by itself; the message says which file to delete.
    with pytest.raises(HubError):
        verify(NAME, api=api)
    Path(str(refused.value).split(" at ", 1)[1].split(" is not ", 1)[0]).unlink()
    assert verify(NAME, api=api).model == "BertForMaskedLM"


@pytest.mark.parametrize("place", ["HEAD .*/config.json", "GET .*/bucket/", "/tree/"])
@pytest.mark.parametrize("fault", [{"status": 503}, {"kind": "drop_answer"}, {"status": 429}], ids=str)
def test_a_download_that_fails_is_tried_again(
    place: str, fault: dict[str, Any], hub: HubServer, api: HfApi, model: Upload, cache: Path
) -> None:
    push(api, model)
    hit = hub.fault(place, **fault)
    assert verify(NAME, api=api).model == "BertForMaskedLM"
    assert hit.hits == 1


def test_verify_of_what_is_no_model_or_not_there(hub: HubServer, api: HfApi, cache: Path) -> None:
    with pytest.raises(HubError, match="nobody/nothing"):
        verify("nobody/nothing", api=api)
    api.create_repo("alice/empty", private=True)
    with pytest.raises(HubError, match=r"no config\.json"):
        verify("alice/empty", api=api)
    push(api)
    with pytest.raises(SourceError, match="does not load"):
        verify(NAME, api=api)
    hub.repository(NAME).commit_directly(
        {"config.json": b'{"architectures": ["BertForMaskedLM"], "model_type": "bert"}'}
    )
    with pytest.raises(SourceError, match="does not load"):
        verify(NAME, api=api)


ROWS = [("the quick brown fox", 1), ("is not lazy", 0), ("the fox is lazy .", 1), ("quick", 0)] * 3


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    """A copy of GLUE with one small task."""
    folder = tmp_path / "glue"
    (folder / "sst2").mkdir(parents=True)
    for split in ("train", "validation"):
        lines = [json.dumps({"sentence": text, "label": label}) for text, label in ROWS]
        (folder / "sst2" / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    files = "\n".join(
        f"  - {{split: {split}, path: sst2/{split}.jsonl}}" for split in ("train", "validation")
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: sst2\n  data_files:\n{files}\n---\n")
    return folder


def classifier(finished: Path, folder: Path) -> float:
    """Saves a classifier of two classes; returns its accuracy on the rows, reckoned one by one."""
    shutil.copytree(finished, folder, ignore=lambda *_: ["stage.json", "model.safetensors", "config.json"])
    torch.manual_seed(3)
    config = BertConfig.from_pretrained(finished, num_labels=2, initializer_range=0.5)
    network = BertForSequenceClassification(config).eval()
    network.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        right = [
            int(network(**tokenizer(text, return_tensors="pt")).logits.argmax()) == label
            for text, label in ROWS
        ]
    return sum(right) / len(right)


def test_scores_that_a_card_claims_are_recomputed_and_differences_reported(
    hub: HubServer,
    api: HfApi,
    finished: Path,
    glue: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    accuracy = classifier(finished, tmp_path / "classifier")

    def claim(value: float, metric: str = "accuracy", **more: Any) -> EvalResult:
        usual = {
            "task_type": "text-classification",
            "dataset_type": "nyu-mll/glue",
            "dataset_name": "GLUE",
            "dataset_config": "sst2",
            "dataset_split": "validation",
        }
        return EvalResult(**(usual | more), metric_type=metric, metric_value=value)

    def card(*claims: EvalResult) -> bytes:
        data = ModelCardData(language="en", license="apache-2.0", model_name="x", eval_results=list(claims))
        return str(ModelCard(f"---\n{data.to_yaml()}\n---\n# x\n")).encode()

    elsewhere = {"dataset_type": "imdb", "dataset_name": "IMDB", "dataset_config": "plain"}
    honest = card(
        claim(accuracy), claim(0.5, **elsewhere), claim(0.5, dataset_split="test"), claim(0.3, "bleu")
    )
    push(api, model_upload(tmp_path / "classifier", "honest", {"README.md": honest}))
    push(api, model_upload(tmp_path / "classifier", "proud", {"README.md": card(claim(accuracy + 0.01))}))

    found = verify("alice/honest", with_scores=True, data=str(glue), api=api)
    (checked,) = found.claims
    assert (checked.task, checked.metric, checked.holds) == ("sst2", "accuracy", True)
    assert checked.found == pytest.approx(100 * accuracy)
    assert len(found.left_out) == 3

    template = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HF_TOKEN", str(api.token))

    def main_verify(repo: str, data: Path) -> int:
        found = verify(repo, with_scores=True, data=str(data), max_length=64)
        found.show()
        return found.status

    assert main_verify("alice/honest", glue) == 0
    printed = capsys.readouterr().out
    assert "every hash is right" in printed
    assert "as claimed" in printed
    assert printed.count("not recomputed: ") == 3
    assert main_verify("alice/proud", glue) == 1
    assert (
        f"{100 * accuracy:.2f} here, {100 * accuracy + 1:.2f} on the card: DIFFERS" in capsys.readouterr().out
    )


@pytest.fixture
def labelled(finished: Path, tmp_path: Path) -> Path:
    """The folder of a finished labelling stage of three shards."""
    folder = tmp_path / "runs" / f"label-sst2-{'c' * 12}"
    classifier(finished, tmp_path / "teacher")
    teacher = BertForSequenceClassification.from_pretrained(tmp_path / "teacher").eval()
    folder.mkdir(parents=True)
    texts = [(text,) for text, _ in ROWS]
    settings = Label(max_length=16, batch_tokens=64, shard_rows=5)
    encoder = of_bert(AutoTokenizer.from_pretrained(tmp_path / "teacher"), settings.max_length)
    label_with(teacher, encoder, texts, [0, 1], settings, folder)
    StageRecord(
        kind="label",
        name="sst2",
        digest="c" * 64,
        settings={"teacher": "sha256:0", "transfer": {"sources": ["task"]}, "settings": {"max_length": 16}},
        inputs={},
        outcome={
            "rows": len(ROWS),
            "labels": ["a", "b"],
            "metric": "accuracy",
            "teacher_validation": {"accuracy": 1.0},
        },
        seconds=1.0,
        versions={},
        command=f"python recipes/label.py --runs {tmp_path}",
    ).write(folder)
    return folder


def test_soft_labels_go_up_as_a_data_set_and_come_down_as_a_stage(
    hub: HubServer, api: HfApi, labelled: Path, tmp_path: Path
) -> None:
    packed = upload_of_run(labelled, "alice")
    assert (packed.repo_type, packed.name) == ("dataset", "sst2-soft-labels-cccccccc")
    report = push(api, packed, collection="Well-read students")
    assert (report.status, states(report)) == (0, ["created"])
    repository = hub.repository(f"alice/{packed.name}", "dataset")
    assert repository.private
    assert len(repository.commits) == 2
    assert str(tmp_path).encode() not in repository.read("stage.json")
    # A collection of students lists no data sets.
    assert not hub.state.collections
    hub.clear_requests()
    assert states(push(api, packed)) == ["unchanged"]

    pulled = pull_soft_labels(f"alice/{packed.name}", tmp_path / "elsewhere", api=api)
    assert pulled.name == labelled.name
    assert (SoftLabels.open(pulled).logits == SoftLabels.open(labelled).logits).all()
    assert StageRecord.read(pulled).digest == "c" * 64
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == [pulled.name]
    # Again: it is there.
    assert pull_soft_labels(f"alice/{packed.name}", tmp_path / "elsewhere", api=api) == pulled


def test_damaged_or_foreign_soft_labels_do_not_come_down(
    hub: HubServer, api: HfApi, labelled: Path, tmp_path: Path
) -> None:
    packed = upload_of_run(labelled, "alice")
    push(api, packed)
    name, elsewhere = f"alice/{packed.name}", tmp_path / "elsewhere"
    repository = hub.repository(name, "dataset")
    shard = next(path for path in repository.files() if path.endswith(".safetensors"))
    repository.corrupt(shard)
    with pytest.raises(HubError, match="not what the Hub says"):
        pull_soft_labels(name, elsewhere, api=api)
    repository.corrupt(shard)
    record = json.loads(repository.read("stage.json"))
    for wrong in ({"name": "../../x"}, {"kind": "pretrain"}, {"digest": "../" + "c" * 61}):
        repository.commit_directly({"stage.json": json.dumps(record | wrong).encode()})
        with pytest.raises(StoreError):
            pull_soft_labels(name, elsewhere, api=api)
    repository.commit_directly({"stage.json": json.dumps(record).encode(), shard: None})
    with pytest.raises(StoreError, match="expected 3 shards"):
        pull_soft_labels(name, elsewhere, api=api)
    assert not list(elsewhere.iterdir())
    with pytest.raises(HubError):
        pull_soft_labels("alice/nothing", elsewhere, api=api)


def test_a_model_and_its_card_are_in_the_same_commit(hub: HubServer, api: HfApi, model: Upload) -> None:
    push(api, model, upload("bert-4-256"))
    newest, first = hub.repository(NAME).commits
    assert set(newest.files) - set(first.files) == set(model.files) >= {"README.md", "scores.png"}
    assert isinstance(model.files["README.md"], LocalFile)
    assert b'"alice/bert-2-128"' in hub.repository(NAME).read("README.md")
