"""A language with other letters, from its text to a student that answers and a card that names it.

The two classes differ in the accent of one Greek word: νόμος is a law, νομός a prefecture.
"""

import json
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    pipeline,
)

from wellread_hf import stages
from wellread_hf.cli.serving import predict
from wellread_hf.data.corpus import Source
from wellread_hf.errors import SettingsError
from wellread_hf.hub.cards import facts_of_run, render
from wellread_hf.models.prune import count_pieces, kept_pieces, pruned_tokenizer, split_differently
from wellread_hf.models.wordpiece import train_wordpiece
from wellread_hf.settings import (
    Case,
    Corpus,
    Export,
    Label,
    Objective,
    Optim,
    Pretrain,
    Running,
    Start,
    Task,
    Transfer,
    Tuning,
)
from wellread_hf.store.graph import carry_out
from wellread_hf.store.stage import Stage
from wellread_hf.training.masking import MlmCollator

GREEK = {
    "νόμος": "δίκαιο",
    "νομός": "τόπος",
}
OPENERS = ("Εκείνος", "Κάθε", "Αυτός", "Ένας")
MIDDLES = ("παλιός", "μεγάλος", "γνωστός", "ίδιος", "μικρός", "ωραίος")
ENDS = ("είναι εδώ", "υπάρχει πάντα", "ήταν πρώτος", "έγινε χθες", "αλλάζει τώρα", "μένει όπως ήταν")
SENTENCES = ["Κάθε παλιός νόμος είναι εδώ.", "Κάθε παλιός νομός είναι εδώ."]
# Vowel signs and the virama are combining marks, some of them of no width.
HINDI = ("मौसम आज अच्छा है", "हम घूमने जा रहे हैं", "वह किताब पढ़ती है", "बच्चे स्कूल गए थे", "यह कमल है कि कुमल")
TUNING = Tuning(epochs=4, evaluations=1, max_length=16, optim=Optim(learning_rate=1e-3, batch_size=16))


def _rows(rows: int, seed: int) -> list[dict[str, str]]:
    draw = np.random.default_rng(seed)

    def one_of(words: Any) -> str:
        return str(words[draw.integers(len(words))])

    found = []
    for _ in range(rows):
        word = one_of(list(GREEK))
        text = f"{one_of(OPENERS)} {one_of(MIDDLES)} {word} {one_of(ENDS)}."
        found.append({"text": text, "label": GREEK[word]})
    return found


def _write(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def _byte_level_teacher(folder: Path, texts: list[str]) -> Path:
    """Of another family, which cuts Greek letters into bytes."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=400, special_tokens=["<s>", "<pad>", "</s>"])
    folder.mkdir()
    bpe.save(str(folder / "bpe.json"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "bpe.json"),
        pad_token="<pad>",
        model_input_names=["input_ids", "attention_mask"],
    )
    torch.manual_seed(2)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    config = RobertaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=66, pad_token_id=1, num_labels=2, **sizes
    )
    RobertaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def greek(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("greek")
    train = _rows(160, 0)
    texts = [row["text"] for row in _rows(600, 2)]
    (folder / "corpus.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    task = Task(
        name="themata",
        data=_write(folder / "train.jsonl", train),
        validation=_write(folder / "dev.jsonl", _rows(100, 1)),
        columns=("text",),
    )
    corpus = Corpus(sources=(str(folder / "corpus.txt"),), language=("el",))
    teacher = _byte_level_teacher(folder / "teacher", texts)
    return {"task": task, "corpus": corpus, "teacher": teacher, "running": Running(runs=folder / "runs")}


@pytest.fixture(scope="module")
def made(greek: dict[str, Any]) -> dict[str, Stage]:
    """All stages from the corpus to a student."""
    task, corpus, running = greek["task"], greek["corpus"], greek["running"]
    tokenizer = stages.train_tokenizer(corpus, 160, running, "cased")
    carry_out([tokenizer])
    read = Pretrain(
        steps=20, block_lengths=(32,), whole_word=True, optim=Optim(learning_rate=1e-3, batch_size=8)
    )
    encoder = stages.pretrain(read, replace(corpus, tokenizer=str(tokenizer.folder)), running)
    teacher = stages.finetune(Start(weights=str(greek["teacher"])), task, TUNING, running)
    labels = stages.label(teacher, task, Transfer(), Label(max_length=64), running)
    longer = replace(TUNING, epochs=6)
    student = stages.distill(encoder, task, labels, Transfer(), Objective(), longer, running)
    carry_out([student])
    return {"tokenizer": tokenizer, "encoder": encoder, "labels": labels, "student": student}


@pytest.mark.slow
def test_a_greek_student_learns_what_accents_alone_show_from_a_byte_level_teacher(
    made: dict[str, Stage],
) -> None:
    assert made["labels"].record.outcome["teacher_validation"]["accuracy"] > 0.9
    student = made["student"].record.outcome
    assert student["validation"]["accuracy"] > 0.9
    assert student["class_counts"]["train"].keys() == {"δίκαιο", "τόπος"}
    answers = pipeline("text-classification", str(made["student"].folder), device="cpu")(SENTENCES)
    assert [answer["label"] for answer in answers] == ["δίκαιο", "τόπος"]


@pytest.mark.slow
def test_cards_name_the_language_and_claim_no_english(made: dict[str, Stage]) -> None:
    words = made["tokenizer"].record.outcome["vocabulary"]
    for stage in (made["encoder"], made["student"]):
        card = render(facts_of_run(stage.folder), picture=False).markdown
        assert "\nlanguage: el\n" in card
        assert f"{words} cased WordPieces" in card
        assert "Its text is in `el`" in card
        assert "English" not in card
        assert "the nurse" not in card


@pytest.mark.long
def test_an_exported_greek_student_answers(
    greek: dict[str, Any], made: dict[str, Stage], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Export(tolerance=100, agreement=0)
    exported = stages.export(made["student"], greek["task"], settings, greek["running"])
    carry_out([exported])
    capsys.readouterr()
    predict(str(exported.folder), tuple(SENTENCES))
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert "δίκαιο" in first
    assert "τόπος" in second


def _cut(case: Case, folder: Path, texts: list[str], vocabulary: int = 120) -> tuple[Any, Any]:
    outcome = train_wordpiece(((text,) for text in texts), vocabulary, folder / case, case)
    return AutoTokenizer.from_pretrained(folder / case), outcome


def test_what_a_tokenizer_keeps_of_letters_is_chosen(tmp_path: Path) -> None:
    texts = [row["text"] for row in _rows(200, 0)]
    same: dict[str, list[bool]] = {}
    for case in ("lower", "lower-accents", "cased"):
        tokenizer, outcome = _cut(case, tmp_path, texts)
        pairs = (("νόμος", "Νόμος"), ("νόμος", "νομός"))
        same[case] = [tokenizer.tokenize(one) == tokenizer.tokenize(other) for one, other in pairs]
        (warning,) = outcome.get("warnings", [None])
        assert (case == "lower") == (warning is not None)
    assert same == {"lower": [True, True], "lower-accents": [True, False], "cased": [False, False]}
    assert "accents or are vowel signs" in train_wordpiece([(HINDI[0],)], 60, tmp_path)["warnings"][0]
    assert "warnings" not in train_wordpiece([("plain words of a naive text",)], 60, tmp_path)


def test_vowel_signs_stay_with_their_letters_and_are_masked_pruned_with_their_words(tmp_path: Path) -> None:
    tokenizer, _ = _cut("lower-accents", tmp_path, [*HINDI] * 20)
    for text in HINDI:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        # Nothing of the text is lost, marks among it.
        assert tokenizer.decode(ids) == text
        assert any(unicodedata.category(letter) == "Mn" for letter in tokenizer.decode(ids))
    # A word is masked whole, marks among it: pieces that continue a word are masked with its first one.
    collator = MlmCollator(tokenizer, mask_share=0.3, whole_word=True, seed=1)
    ids = [2, *tokenizer(" ".join(HINDI), add_special_tokens=False)["input_ids"], 3]
    masked = collator([{"input_ids": ids, "epoch": 0, "block": number} for number in range(8)])
    assert masked["positions"].shape[0] == 8
    # A vocabulary pruned for a text cuts its words as before.
    kept = kept_pieces(count_pieces(((text,) for text in HINDI[:2]), tokenizer), tokenizer, None)
    smaller = pruned_tokenizer(tokenizer, kept)
    assert len(smaller) < len(tokenizer)
    found = split_differently(((text,) for text in HINDI[:2]), tokenizer, smaller)
    assert found["otherwise"] == found["unknown"] == 0


def test_the_language_changes_no_digest_and_is_a_code(greek: dict[str, Any], tmp_path: Path) -> None:
    corpus, running = greek["corpus"], greek["running"]
    plain = replace(corpus, language=(), tokenizer=str(greek["teacher"]))
    stated = replace(plain, language=("el", "en"))
    settings = Pretrain(steps=1)
    assert (
        stages.pretrain(settings, plain, running).digest == stages.pretrain(settings, stated, running).digest
    )
    cases: tuple[Case, ...] = ("lower", "lower-accents", "cased")
    assert len({stages.train_tokenizer(corpus, 160, running, case).digest for case in cases}) == 3
    for wrong in ("greek", "EL", "e", "el-GR"):
        with pytest.raises(SettingsError, match=f"ISO 639 codes .* got '{wrong}'"):
            Corpus(language=(wrong,))
    assert Source.parse("text,column=κείμενο").columns == ("κείμενο",)
