"""A folder with small good files and models, and with one bad thing of each kind."""

import gzip
import json
import os
import shutil
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wellread_hf.data.toy.glue import write_toy_glue


def _sentences(*things: str) -> list[dict[str, Any]]:
    verdicts = ("here", "there")
    return [
        {"sentence": f"{thing} was {verdict}", "label": label}
        for thing in things
        for label, verdict in enumerate(verdicts)
    ]


SENTENCES = _sentences("it", "about", "while", "so", "then")
# More than a parser of JSON follows.
DEEP = "[" * 200_000


def make(here: Path, toy_folder: Path, tokenizer: Any) -> None:
    """Fills the folder; a few seconds."""
    _texts(here, toy_folder)
    _tables(here)
    _tokenizers(here, tokenizer)
    _models(here, tokenizer)
    _archives(here)
    _records(here)
    write_toy_glue(here / "glue", toy_folder / "task")
    (here / "empty-folder").mkdir()
    os.mkfifo(here / "pipe.jsonl")
    os.mkfifo(here / "pipe.txt")
    os.mkfifo(here / "SST-2.pipe")
    (here / "link-to-nothing.jsonl").symlink_to("nowhere")
    (here / "loop.jsonl").symlink_to("loop.jsonl")


def _texts(here: Path, toy_folder: Path) -> None:
    (here / "good.txt").write_text("\n".join((toy_folder / "corpus.txt").read_text().splitlines()[:300]))
    (here / "empty.txt").write_text("")
    (here / "asked.jinja").write_text("{% for e in examples %}{{ e.label }} {% endfor %}{{ sentence }} is")
    (here / "line-2.jinja").write_text("It is\n{{ sentense }}:")
    (here / "short.txt").write_text("it was here\n")
    (here / "latin.txt").write_bytes("good\nsch\xf6n\n".encode("latin-1"))
    (here / "nul.txt").write_bytes(b"it was here\nit was\0there\n")
    (here / "utf16.txt").write_bytes("it was here\n".encode("utf-16"))
    (here / "broken.parquet").write_bytes(b"PAR1 and then nothing")
    (here / "text.doc").write_text("it was here\n")
    rows(here / "numbers.jsonl", [{"text": "it was here"}, {"text": 7}])
    (here / "list.jsonl").write_text('["it was here"]\n')
    (here / "cut.jsonl").write_text('{"text": "it was he\n')
    (here / "deep.jsonl").write_text(f'{{"text": {DEEP}\n')


def _tables(here: Path) -> None:
    rows(here / "train.jsonl", SENTENCES)
    rows(here / "dev.jsonl", _sentences("one", "he", "who", "this", "that"))
    rows(here / "pool.jsonl", [{"sentence": row["sentence"]} for row in SENTENCES])
    for name, label in {"outside": 7, "nan": float("nan"), "missing": None, "word": "maybe"}.items():
        rows(here / f"{name}.jsonl", [*SENTENCES, {"sentence": "it was now", "label": label}])
    changed: Mapping[str, Any] = {
        "one-class": lambda label: 0,
        "values": lambda label: 0.5 + label,
        "dicts": lambda label: {"class": label},
        "long-numbers": lambda label: 10**300 + label,
        "infinite": lambda label: float("inf") if label else 0.5,
    }
    for name, change in changed.items():
        rows(here / f"{name}.jsonl", [{**row, "label": change(row["label"])} for row in SENTENCES])
    (here / "tags.conll").write_text("it O\nis O\n\none B-X\nof I-X\n")
    (here / "cut.conll").write_text("it O\nis\n")
    (here / "half.conll").write_text("it B-X\nis I-\n")
    rows(here / "tags.jsonl", [{"words": ["it", "was"], "label": ["O"]}])
    rows(here / "no-label.jsonl", [{"sentence": row["sentence"]} for row in SENTENCES])
    rows(here / "not-text.jsonl", [*SENTENCES, {"sentence": None, "label": 0}])
    _other_tables(here)
    _soft_tables(here)
    (here / "empty.csv").write_text("")
    (here / "header.csv").write_text("sentence,label\n")
    (here / "quote.csv").write_text('sentence,label\n"it was,0\nso it was,1\n')
    (here / "latin.csv").write_bytes(b"sentence,label\nsch\xf6n,0\n")


def _other_tables(here: Path) -> None:
    """The same rows with their labels written otherwise, and in files that others write."""

    def table(name: str, written: Sequence[str], separator: str = ",") -> None:
        lines = [
            f"{row['sentence']}{separator}{written[at % len(written)]}\n" for at, row in enumerate(SENTENCES)
        ]
        (here / name).write_text("".join([f"sentence{separator}label\n", *lines]))

    table("stars.csv", ("1", "2", "3", "4", "5"))
    table("years.csv", ("2020", "2019"))
    table("floats.csv", ("0.0", "1.0"))
    table("words.csv", ("no", "yes"))
    table("words.tsv", ("no", "yes"), "\t")
    table("WORDS.CSV", ("no", "yes"))
    table("a,b [v1].csv", ("no", "yes"))
    table("blanks.csv", ("neg", "pos", "neg "))
    table("cases.csv", ("neg", "Neg"))
    stamped = [{"sentence": "it was", "label": 1_700_000_000 + at} for at in range(400)]
    rows(here / "stamps.jsonl", stamped)
    words = (here / "words.csv").read_bytes()
    (here / "bom.csv").write_bytes(b"\xef\xbb\xbf" + words)
    (here / "crlf.csv").write_bytes(words.replace(b"\n", b"\r\n"))
    (here / "words.csv.gz").write_bytes(gzip.compress(words))
    (here / "cut.csv.gz").write_bytes(gzip.compress(words)[:30])
    (here / "comma.csv").write_bytes(words + b"slow, but good,yes\n")
    (here / "short-row.csv").write_bytes(words + b"slow\n")
    (here / "twice.csv").write_text("sentence,label,label\nit was here,0,1\nso it was,1,0\n")
    (here / "long-text.csv").write_bytes(words + b"it was " * 20_000 + b",yes\n")
    (here / "bom.jsonl").write_bytes(b"\xef\xbb\xbf" + (here / "train.jsonl").read_bytes())
    (here / "bom.txt").write_bytes(b"\xef\xbb\xbf" + (here / "good.txt").read_bytes())


def _soft_tables(here: Path) -> None:
    """The same texts with soft labels: good ones, and some with a fault in the third row and in the last."""
    faults: Mapping[str, Any] = {
        "": None,
        "-sum": {"0": 0.75, "1": 0.5},
        "-negative": {"0": -0.25, "1": 1.25},
        "-nan": {"0": float("nan"), "1": 0.5},
        "-missing": {"1": 1},
        "-unknown": {"0": 0.5, "2": 0.5},
        "-list": [0.5, 0.5],
    }
    for name, fault in faults.items():
        soft = [fault if fault and at in (2, 9) else {"0": 0.75, "1": 0.25} for at in range(len(SENTENCES))]
        table = [
            {"sentence": row["sentence"], "soft": each} for row, each in zip(SENTENCES, soft, strict=True)
        ]
        rows(here / f"soft{name}.jsonl", table)
        if not name:
            rows(here / "soft-twice.jsonl", [*table, {**table[2], "soft": {"0": 0.5, "1": 0.5}}])
            rows(here / "soft-some.jsonl", table[:8])
    lines = [f"{row['sentence']},{row['label']},{1 - row['label']}\n" for row in SENTENCES]
    words = [row["sentence"].split() for row in SENTENCES]
    rows(here / "words.jsonl", [{"words": each, "label": ["O", "O", each[2]]} for each in words])
    (here / "soft.csv").write_text("".join(["sentence,p_1,p_0\n", *lines]))


def _tokenizers(here: Path, tokenizer: Any) -> None:
    from transformers import BertTokenizer

    tokenizer.save_pretrained(here / "tokenizer")
    vocabulary = tokenizer.get_vocab()
    for new in range(20):
        vocabulary[f"new{new}"] = len(vocabulary)
    BertTokenizer(vocab=vocabulary).save_pretrained(here / "bigger-tokenizer")
    settings = here / "no-mask-tokenizer/tokenizer_config.json"
    tokenizer.save_pretrained(settings.parent)
    settings.write_text(
        json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", "cls_token": "[CLS]", "sep_token": "[SEP]"}
            | {"pad_token": "[PAD]", "unk_token": "[UNK]"}
        )
    )
    for name, text in {"cut": '{"version": "1', "deep": DEEP, "list": "[]"}.items():
        tokenizer.save_pretrained(here / f"{name}-tokenizer")
        (here / f"{name}-tokenizer/tokenizer.json").write_text(text)


def _models(here: Path, tokenizer: Any) -> None:
    import torch
    from transformers import BertForSequenceClassification

    from wellread_hf.models.load import new_classifier
    from wellread_hf.students import Student

    names = {"two": ("0", "1"), "three": ("0", "1", "2"), "value": (), "other-names": ("up", "down")}
    for name, labels in names.items():
        model = new_classifier(Student(2, 128), len(tokenizer), labels, seed=0)
        assert isinstance(model, BertForSequenceClassification)
        model.save_pretrained(here / name)
        tokenizer.save_pretrained(here / name)
    model.bert.save_pretrained(here / "headless")
    tokenizer.save_pretrained(here / "headless")

    tokenizer.save_pretrained(here / "pickled")
    model.config.save_pretrained(here / "pickled")
    torch.save(model.state_dict(), here / "pickled/pytorch_model.bin")
    tokenizer.save_pretrained(here / "own-code")
    auto_map = {"AutoConfig": "code.Config", "AutoModelForMaskedLM": "code.Model"}
    auto_map["AutoModelForSequenceClassification"] = "code.Model"
    (here / "own-code/config.json").write_text(json.dumps({"model_type": "odd", "auto_map": auto_map}))
    (here / "own-code/code.py").write_text("raise SystemExit('this code must not run')\n")

    weights = (here / "two/model.safetensors").read_bytes()
    _model(here, "cut-weights", weights[:-40])
    _model(here, "header-of-exabytes", struct.pack("<Q", 1 << 60) + b"{}")
    _model(here, "empty-weights", b"")
    _model(here, "no-weights", None)
    _model(here, "other-width", weights, hidden_size=256, intermediate_size=1024, num_attention_heads=4)
    _model(here, "other-words", weights, vocab_size=9_999)
    _model(here, "odd-type", weights, model_type="nothing-like-it")
    _model(
        here, "quantised", weights, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}
    )
    _model(here, "counted-from-1", weights, id2label={"1": "0", "2": "1"}, label2id={"0": 1, "1": 2})
    _model(here, "many-labels", weights, problem_type="multi_label_classification")
    for name, text in {"cut-config": '{"model_type": "be', "list-config": "[]", "deep-config": DEEP}.items():
        _model(here, name, weights)
        (here / name / "config.json").write_text(text)
    adapter = {"peft_type": "LORA", "base_model_name_or_path": str(here / "nowhere"), "task_type": "SEQ_CLS"}
    (here / "adapter").mkdir()
    (here / "adapter/adapter_config.json").write_text(json.dumps(adapter))
    (here / "adapter/adapter_model.safetensors").write_bytes(b"")


def _model(here: Path, name: str, weights: bytes | None, **changes: object) -> None:
    """A model like `two` with other weights and a changed config."""
    shutil.copytree(here / "two", here / name)
    config = json.loads((here / "two/config.json").read_text()) | changes
    (here / name / "config.json").write_text(json.dumps(config))
    (here / name / "model.safetensors").unlink()
    if weights is not None:
        (here / name / "model.safetensors").write_bytes(weights)


def _archives(here: Path) -> None:
    said = "index\tprediction\n" + "".join(f"{row}\t{row % 2}\n" for row in range(10))
    true = said.replace("prediction", "label")
    (here / "labels").mkdir()
    files = {
        "SST-2": true,
        "CoLA": true.replace("label", "lable"),
        "RTE": true,
        "STS-B": "index\tlabel\n0\tinf\n",
        "MRPC": f"index\tlabel\n{'9' * 5000}\t1\n",
        "QQP": "index\tlabel\n-1\t1\n",
        "WNLI": "index\tlabel\n0\t1\n0\t1\n",
        "QNLI": "index\tlabel\n",
    }
    for name, text in files.items():
        (here / f"labels/{name}.tsv").write_text(text)
    (here / "labels/AX.tsv").write_bytes(b"index\tlabel\n\xff\xfe\t1\n")
    os.mkfifo(here / "labels/MNLI-m.tsv")
    (here / "labels/MNLI-mm.tsv").mkdir()
    for name in ("good", "encrypted", "lying"):
        with zipfile.ZipFile(here / f"{name}.zip", "w") as archive:
            archive.writestr("SST-2.tsv", said)
    with zipfile.ZipFile(here / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("SST-2.tsv", b"0" * (200 << 20))
    raw = bytearray((here / "encrypted.zip").read_bytes())
    for at in (raw.index(b"PK\3\4") + 6, raw.index(b"PK\1\2") + 8):
        raw[at] |= 1
    (here / "encrypted.zip").write_bytes(raw)
    raw = bytearray((here / "lying.zip").read_bytes())
    raw[raw.index(b"PK\1\2") + 16 : raw.index(b"PK\1\2") + 20] = b"\1\2\3\4"
    (here / "lying.zip").write_bytes(raw)
    (here / "cut.zip").write_bytes((here / "good.zip").read_bytes()[:60])
    (here / "text.zip").write_text("it was here\n")


def _records(here: Path) -> None:
    """Folders as a stage leaves them, and as none does."""
    whole = {
        "kind": "pretrain",
        "name": "bert-2-128",
        "digest": "0" * 64,
        "settings": {},
        "inputs": {},
        "outcome": {},
        "seconds": 1.0,
        "versions": {},
        "command": "pretrain.py",
    }
    texts = {
        "bare": json.dumps(whole),
        "empty": "",
        "list": "[]",
        "number": "7",
        "deep": DEEP,
        "more": json.dumps(whole | {"more": 1}),
        "less": json.dumps({"kind": "pretrain"}),
        "wrong-types": json.dumps(whole | {"outcome": [], "settings": 3, "kind": None}),
        "glue": json.dumps(whole | {"kind": "glue"}),
        "predict": json.dumps(whole | {"kind": "predict", "outcome": {"task": "sst2"}}),
        "label": json.dumps(whole | {"kind": "label", "outcome": {"rows": 3}}),
        "finetune": json.dumps(whole | {"kind": "finetune"}),
        "studies": json.dumps(whole | {"kind": "studies", "outcome": {"studies": ["study-x"]}}),
    }
    for name, text in texts.items():
        (here / f"records/{name}").mkdir(parents=True)
        (here / f"records/{name}/stage.json").write_text(text)
    (here / "records/utf16").mkdir()
    (here / "records/utf16/stage.json").write_bytes(json.dumps(whole).encode("utf-16"))
    (here / "records/folder/stage.json").mkdir(parents=True)
    for name, text in {"cut": '[{"loss": 1', "numbers": "[1, 2]", "deep": DEEP, "object": "{}"}.items():
        (here / f"records/log-{name}").mkdir()
        (here / f"records/log-{name}/stage.json").write_text(json.dumps(whole))
        (here / f"records/log-{name}/log.json").write_text(text)
    for name, text in {
        "cut": '{"split": "d',
        "list": "[]",
        "other": '{"split": "test"}',
        "deep": DEEP,
    }.items():
        (here / f"boards-{name}/glue-x").mkdir(parents=True)
        (here / f"boards-{name}/glue-x/stage.json").write_text(json.dumps(whole | {"kind": "glue"}))
        (here / f"boards-{name}/glue-x/results.json").write_text(text)
    (here / "sweeps/sweep-x").mkdir(parents=True)
    (here / "sweeps/sweep-x/trials.json").write_text("this is no JSON\n")
    for name, text in {"cut": '{"a', "list": "[]", "deep": DEEP, "numbers": '{"x": 3}'}.items():
        (here / f"runs-{name}").mkdir()
        (here / f"runs-{name}/.digests.json").write_text(text)
    (here / "page.md").write_text("no comments here\n")
    (here / "marked.md").write_text("<!-- studies: begin -->\n<!-- studies: end -->\n")


def rows(path: Path, content: Sequence[Mapping[str, Any]]) -> None:
    """Writes JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in content))
