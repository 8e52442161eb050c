"""The mean of several teachers, of other families and tokenizers too; digests of stages from before."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recipe_runs import run_here
from scipy.special import softmax
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from wellread_hf import stages
from wellread_hf.data.toy.world import LABEL_NAMES
from wellread_hf.labelling.soft_labels import SoftLabels, text_hashes, write_rows
from wellread_hf.models.load import new_classifier
from wellread_hf.settings import Label, Objective, Running, Start, Task, Transfer, Tuning
from wellread_hf.stages import combine
from wellread_hf.store.graph import carry_out
from wellread_hf.store.records import StageRecord
from wellread_hf.store.stage import Stage
from wellread_hf.students import Student

TOY = (
    *(
        "--task.name",
        "toy",
        "--task.data",
        "toy:task@smoke",
        "--transfer.sources",
        "toy:pool@smoke",
    ),
)
TUNING = (
    *("--tuning.epochs", 1, "--tuning.evaluations", 1, "--tuning.max-length", 32),
    *("--tuning.optim.batch-size", 8),
)


def _bert(folder: Path, toy_folder: Path) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(toy_folder / "tokenizer")
    new_classifier(Student(2, 128), len(tokenizer), LABEL_NAMES, seed=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _roberta(folder: Path, toy_folder: Path) -> Path:
    """Of another family, with a byte-level vocabulary of its own and the classes in another order."""
    bpe = ByteLevelBPETokenizer()
    bpe.train([str(toy_folder / "corpus.txt")], vocab_size=400, special_tokens=["<s>", "<pad>", "</s>"])
    folder.mkdir()
    bpe.save(str(folder / "bpe.json"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "bpe.json"),
        pad_token="<pad>",
        model_input_names=["input_ids", "attention_mask"],
    )
    (folder / "bpe.json").unlink()
    torch.manual_seed(2)
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=130,
        pad_token_id=1,
        initializer_range=0.5,
        id2label=dict(enumerate(reversed(LABEL_NAMES))),
        **sizes,
    )
    RobertaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _probabilities(folder: Path, texts: list[str]) -> np.ndarray:
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        rows = [model(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in texts]
    names = list(model.config.id2label.values())
    order = [names.index(name) for name in LABEL_NAMES]
    return softmax(np.stack(rows), axis=1)[:, order]


def _mean_of(runs: Path) -> Path:
    (found,) = (
        path.parent
        for path in runs.glob("label-*/stage.json")
        if str(StageRecord.read(path.parent).settings["teacher"]).startswith("mean of")
    )
    return found


def test_two_teachers_of_two_families_label_and_a_student_learns_their_mean(
    toy_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    teachers = [_bert(tmp_path / "bert", toy_folder), _roberta(tmp_path / "roberta", toy_folder)]
    runs = tmp_path / "runs"
    options = ("--teacher", *teachers, "--teacher-weights", 7, 3, *TOY, "--running.runs", runs)
    ran = run_here(capfd, "label", *options)
    assert ran.status == 0, ran.err
    assert len(list(runs.glob("label-*"))) == 3
    (world,) = runs.glob("toyworld-*")
    texts = [json.loads(line)["sentence"] for line in (world / "pool.jsonl").read_text().splitlines()]
    ours, theirs = (_probabilities(folder, texts) for folder in teachers)
    assert np.abs(ours - theirs).max() > 0.2
    found = SoftLabels.open(_mean_of(runs))
    np.testing.assert_allclose(softmax(found.logits, axis=1), 0.7 * ours + 0.3 * theirs, atol=1e-5)
    # Shares decide, not their unit.
    again = run_here(
        capfd, "label", *("0.7" if word == 7 else "0.3" if word == 3 else word for word in options)
    )
    assert "starts in" not in again.out
    student = (
        "--start.weights",
        None,
        "--start.student",
        "2-128",
        "--start.tokenizer",
        "toy:tokenizer@smoke",
    )
    labels = ("--labels", _mean_of(runs))
    distilled = run_here(capfd, "distill", *labels, *student, *TUNING, *TOY, "--running.runs", runs)
    assert distilled.status == 0, distilled.err
    # The same labels with other text are another run, though this one is done; and they do not belong to it.
    fewer = ("--transfer.rows", 100)
    elsewhere = run_here(capfd, "distill", *labels, *student, *TUNING, *TOY, *fewer, "--running.runs", runs)
    assert elsewhere.status == 2
    assert "the soft labels have 128 rows, the data set has 100" in elsewhere.err
    refused = run_here(
        capfd, "distill", *labels, "--objective.method", "patient", *student, *TOY, "--running.runs", runs
    )
    assert refused.status == 2
    assert "stored without any" in refused.err


def test_states_of_a_wider_teacher_of_another_family_teach_through_a_projection(
    toy_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = (
        *("--teacher", _roberta(tmp_path / "roberta", toy_folder), "--label.states", 1, *TOY, *TUNING),
        *("--start.weights", None, "--start.student", "2-128", "--start.tokenizer", "toy:tokenizer@smoke"),
        *("--objective.method", "patient", "--running.runs", tmp_path / "runs"),
    )
    refused = run_here(capfd, "distill", *options)
    assert refused.status == 2
    assert "have 128 numbers, the teacher's 32" in refused.err
    ran = run_here(capfd, "distill", *options, "--objective.projection")
    assert ran.status == 0, ran.err
    (done,) = (tmp_path / "runs").glob("distill-*/stage.json")
    model, info = AutoModelForSequenceClassification.from_pretrained(done.parent, output_loading_info=True)
    assert model.config.hidden_size == 128
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_patient_kd_runs_from_its_recipe(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runs = ("--running.runs", tmp_path)
    patient = ("--label.states", 1, "--objective.method", "patient")
    # Before the teacher has read anything.
    early = run_here(
        capfd,
        "distill",
        "--preset",
        "smoke",
        "--dry-run",
        *patient,
        "--objective.layers",
        "1:1",
        "1:2",
        *runs,
    )
    assert early.status == 2
    assert "layers 1 2, got those of 1; label with --label.states 1 2, or" in early.err
    ran = run_here(capfd, "distill", "--preset", "smoke", *patient, *runs)
    assert ran.status == 0, ran.err
    with_lora = run_here(capfd, "distill", "--preset", "smoke", *patient, "--lora-rank", 2, *runs)
    assert with_lora.status == 0, with_lora.err
    (found,) = (
        StageRecord.read(path)
        for path in tmp_path.glob("distill-*")
        if "lora" not in StageRecord.read(path).settings
    )
    assert found.settings["objective"] == {"temperature": 1.0, "hard_label_share": 0.0, "method": "patient"}


def _label_stage(folder: Path, name: str, texts: list[str], classes: tuple[str, ...] = ("a", "b")) -> Stage:
    def work(stage: Stage) -> dict[str, Any]:
        logits = np.zeros((len(texts), len(classes)), dtype=np.float32)
        write_rows(stage.folder, logits, text_hashes([(text,) for text in texts]), 2)
        return {"labels": classes}

    settings = {"teacher": name, "task": {}, "transfer": {}, "settings": {"max_length": 8}}
    return Stage(kind="label", name="x", root=folder, identity=settings, work=work)


@pytest.mark.parametrize(
    "other",
    [(["one", "2", "3"],), (["1", "2"],), (["1", "2", "3"], ("b", "a"))],
    ids=["text", "rows", "classes"],
)
def test_labels_of_other_texts_or_classes_have_no_mean(other: Any, tmp_path: Path) -> None:
    from wellread_hf.errors import LabelError

    parts = [_label_stage(tmp_path, "A", ["1", "2", "3"]), _label_stage(tmp_path, "B", *other)]
    with pytest.raises(LabelError, match="other texts or classes"):
        carry_out([combine(parts, (), Running(runs=tmp_path))])


def test_stages_that_were_finished_before_other_methods_keep_their_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found with the code of before there were methods, states, several teachers, and versions."""
    for module in ("labelling", "classifiers"):
        monkeypatch.setattr(f"wellread_hf.stages.{module}.FoundTask.version", 1)
        monkeypatch.setattr(f"wellread_hf.stages.{module}.reading_version", lambda *_: 0)
    for name, rows in (("train", 4), ("dev", 2)):
        lines = (json.dumps({"text": f"row {row}", "label": row % 2}) + "\n" for row in range(rows))
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher/config.json").write_text("{}")
    running, teacher = Running(runs=tmp_path / "runs"), str(tmp_path / "teacher")
    files = {"data": str(tmp_path / "train.jsonl"), "validation": str(tmp_path / "dev.jsonl")}
    task = Task(name="mine", columns=("text",), **files)
    transfer = Transfer(guard=False)
    labels = stages.label(teacher, task, transfer, Label(), running)
    by_all = stages.label_by_all([teacher], (), task, transfer, Label(), running)
    found = [
        stages.distill(Start(weights=teacher), task, labels, transfer, objective, Tuning(), running).digest
        for objective in (Objective(), Objective(temperature=2.0, hard_label_share=0.5))
    ]
    assert [labels.digest, by_all.digest, *found] == [
        "dcd2bd0f6a97c10a44f12b9320445640449bd7a9d65d6bbc65981e024869bce0",
        "dcd2bd0f6a97c10a44f12b9320445640449bd7a9d65d6bbc65981e024869bce0",
        "a29038446f4a056713dfe8b6623012fa40a61ddd7d996ecb043fcbf0eb839298",
        "7ffb850d0f5a15812e143245f2ea8a11d2c123ef74f2e5f9641a4f848b736821",
    ]
    with_states = stages.label(teacher, task, transfer, Label(states=(1,)), running)
    assert with_states.digest != labels.digest
