"""Masked LM and next-sentence prediction: pairs, their draws, the stock loss, a pooler that is kept."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from launched import Recipes
from scipy.stats import binomtest
from tiny import SPECIAL, VOCABULARY, tiny_pretraining, word_tokenizer
from torch import Tensor
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
)

from wellread_hf.data.documents import Windows
from wellread_hf.errors import DataError
from wellread_hf.models.masked_lm import new_pretraining, scoring_only
from wellread_hf.settings import Optim, Pretrain, Running
from wellread_hf.students import Student
from wellread_hf.training.masking import MlmCollator
from wellread_hf.training.mlm_objectives import with_next_sentence
from wellread_hf.training.pretraining import HeldOutBlocks, RunBlocks, pretrain
from wellread_hf.training.sentence_pairs import SentencePairs

LENGTH = 19
WIDTH = LENGTH - 3


def windows(rows: int = 400, documents: int = 40, width: int = WIDTH) -> Windows:
    """Windows in which every token of a document is the document's own word: neighbours belong together."""
    numbers = np.sort(np.random.default_rng(0).integers(documents, size=rows)).astype(np.uint32)
    words = len(SPECIAL) + numbers % (VOCABULARY - len(SPECIAL))
    return Windows(np.repeat(words[:, None], width, axis=1).astype(np.uint16), numbers)


def pairs(**changes: Any) -> SentencePairs:
    return SentencePairs(windows(**changes), word_tokenizer(), seed=3)


def batch(rows: int = 12, epoch: int = 0) -> dict[str, Tensor]:
    draw = np.random.default_rng(1)
    ids = draw.integers(len(SPECIAL), VOCABULARY, size=(200, WIDTH)).astype(np.uint16)
    source = SentencePairs(Windows(ids, np.arange(200, dtype=np.uint32)), word_tokenizer(), seed=3)
    blocks = source.train[:rows]
    examples = [{**source.row(int(block), epoch), "epoch": epoch, "block": int(block)} for block in blocks]
    return MlmCollator(word_tokenizer(), seed=3)(examples)


def test_windows_of_one_document_are_refused() -> None:
    with pytest.raises(DataError, match="at least two documents among those to train on, got 40 of 1"):
        pairs(rows=48, documents=1)
    one = windows(rows=48)
    # Two documents, of which the first has no window that is held out.
    early = (np.arange(48) >= one.held_out[0]).astype(np.uint32)
    with pytest.raises(DataError, match="among those held out, got 8 of 1"):
        SentencePairs(Windows(one.ids, early), word_tokenizer(), seed=0)


def test_a_row_is_two_segments_of_one_document_or_of_two() -> None:
    source, opened = pairs(), windows()
    cuts = set()
    for block in range(len(opened.ids)):
        row = source.row(block, epoch=0)
        ids, types = row["input_ids"], row["token_type_ids"]
        assert len(ids) == len(types) == source.length == LENGTH
        (cut, end) = np.flatnonzero(ids == 3)
        assert (ids[0], end) == (2, LENGTH - 1)
        assert types.tolist() == [0] * (cut + 1) + [1] * (LENGTH - cut - 1)
        assert set(ids[1:cut]) == {opened.ids[block, 0]}
        other = set(ids[cut + 1 : end])
        assert len(other) == 1
        assert (other == {opened.ids[block, 0]}) == (row["next_sentence_label"] == 0)
        cuts.add(int(cut))
    assert cuts == set(range(1 + WIDTH // 4, 2 + WIDTH - WIDTH // 4))


def test_half_of_the_rows_are_continued_and_strangers_are_drawn_evenly_from_the_same_part() -> None:
    source, opened = pairs(), windows()
    rows = [source.row(block, epoch) for epoch in range(20) for block in range(len(opened.ids))]
    strange = sum(row["next_sentence_label"] for row in rows)
    assert binomtest(strange, len(rows)).pvalue > 0.001
    held_out = set(opened.documents[opened.held_out].tolist())
    assert len(held_out) < 40
    for block in opened.held_out:
        for epoch in range(20):
            word = int(source.row(int(block), epoch)["input_ids"][-2]) - len(SPECIAL)
            assert word in held_out
    # Document 7's windows never meet themselves as strangers, and meet all others.
    first = int(np.flatnonzero(opened.documents == 7)[0])
    met = [source.row(first, epoch) for epoch in range(2_000)]
    words = {int(row["input_ids"][-2]) - len(SPECIAL) for row in met if row["next_sentence_label"]}
    assert words == set(range(40)) - {7}


def test_pair_and_masks_are_a_function_of_seed_epoch_and_window() -> None:
    one, two = pairs(), pairs()
    for block in (0, 17, 300):
        for _ in range(2):
            assert np.array_equal(one.row(block, 5)["input_ids"], two.row(block, 5)["input_ids"])
        two.row(block + 1, 5)
    other_seed = SentencePairs(windows(), word_tokenizer(), seed=4)
    for differs in (other_seed.row, lambda block, epoch: one.row(block, epoch + 1)):
        same = [
            np.array_equal(one.row(block, 0)["input_ids"], differs(block, 0)["input_ids"])
            for block in range(100)
        ]
        assert sum(same) < 60


def test_loss_and_gradients_are_those_of_the_stock_model_with_dense_labels() -> None:
    given, model = batch(), tiny_pretraining().train()
    dense = torch.full_like(given["input_ids"], -100).scatter_(1, given["positions"], given["labels"])
    stock = model(
        input_ids=given["input_ids"],
        token_type_ids=given["token_type_ids"],
        labels=dense,
        next_sentence_label=given["next_sentence_label"],
    ).loss
    stock.backward()
    expected = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    losses, parts = with_next_sentence(model, model, given)
    assert losses.shape == (12,)
    torch.testing.assert_close(losses.mean(), stock, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(parts["mlm_loss"] + parts["next_sentence_loss"], losses)
    losses.mean().backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name], atol=1e-5, rtol=1e-5, msg=name)
    assert expected["bert.pooler.dense.weight"].abs().max() > 1e-4
    assert expected["bert.embeddings.token_type_embeddings.weight"].abs().max() > 1e-4
    # Evaluation takes the other way to the same numbers.
    again, parts = with_next_sentence(model.eval(), model, given)
    torch.testing.assert_close(again, losses, atol=1e-5, rtol=1e-5)
    logits = model(
        input_ids=given["input_ids"], token_type_ids=given["token_type_ids"]
    ).seq_relationship_logits
    right = logits.argmax(1) == given["next_sentence_label"]
    assert parts["next_sentence_accuracy"].tolist() == right.float().tolist()


def test_the_last_layer_is_computed_at_the_scored_positions_and_at_cls() -> None:
    given, model = batch(), tiny_pretraining().eval()
    shown = {name: given[name] for name in ("input_ids", "token_type_ids")}
    widths: list[int] = []
    for layer in model.bert.encoder.layer:
        layer.intermediate.register_forward_hook(lambda _, taken, __: widths.append(taken[0].shape[1]))
    full = model(**shown)
    with scoring_only(model, given["positions"]):
        scored = model(**shown)
    assert widths == [LENGTH, LENGTH, LENGTH, 1 + given["positions"].shape[1]]
    rows = torch.arange(len(given["labels"]))[:, None]
    torch.testing.assert_close(
        scored.prediction_logits, full.prediction_logits[rows, given["positions"]], atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(
        scored.seq_relationship_logits, full.seq_relationship_logits, atol=1e-5, rtol=1e-5
    )


def test_neighbours_are_learnt_and_the_record_has_both_losses(tmp_path: Path) -> None:
    # So few that which of them go together can be learnt by heart.
    source = pairs(documents=4)
    settings = Pretrain(
        steps=200,
        next_sentence=True,
        block_lengths=(LENGTH,),
        optim=Optim(learning_rate=3e-3, batch_size=32),
        seed=3,
    )
    outcome = pretrain(
        tiny_pretraining(),
        word_tokenizer(),
        [source],
        settings,
        Running(),
        tmp_path,
        "b" * 64,
        with_next_sentence,
    )
    assert outcome["held_out_next_sentence_accuracy"] > 0.9
    assert (
        outcome["held_out_next_sentence_loss"] < 0.4 < F.cross_entropy(torch.zeros(1, 2), torch.tensor([0]))
    )
    assert outcome["held_out_loss"] < outcome["unigram_loss"]
    assert outcome["tokens"] == 200 * 32 * LENGTH
    logged = [row for row in json.loads((tmp_path / "log.json").read_text()) if "eval_loss" in row]
    assert logged[-1]["eval_loss"] == pytest.approx(
        outcome["held_out_loss"] + outcome["held_out_next_sentence_loss"], rel=1e-5
    )
    first = HeldOutBlocks(source)[0]
    assert np.array_equal(first["input_ids"], HeldOutBlocks(source)[0]["input_ids"])
    assert RunBlocks([source], [2], 4, seed=0)[3]["token_type_ids"].sum() > 0


@pytest.fixture(scope="module")
def made(
    recipes: Recipes, world: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[object]]:
    """A pre-training with next sentences on the toy world's texts, and its options."""
    runs = tmp_path_factory.mktemp("next-sentence")
    options: list[object] = [
        *("--corpus.sources", world / "corpus.txt", "--corpus.tokenizer", world / "tokenizer"),
        *("--student", "2-128", "--steps", 12, "--block-lengths", 17, "--optim.batch-size", 8),
        *("--next-sentence", "--running.checkpoint-steps", 4),
    ]
    recipes.run("pretrain", *options, "--running.runs", runs)
    return next(runs.glob("pretrain-*")), options


def test_it_is_saved_as_a_stock_model_that_every_class_loads(made: tuple[Path, list[object]]) -> None:
    folder, _ = made
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["BertForPreTraining"]
    model, info = BertForPreTraining.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    ids = torch.randint(5, 100, (2, 11), generator=torch.Generator().manual_seed(0))
    expected = model.eval()(ids)
    encoder = BertModel.from_pretrained(folder).eval()
    torch.testing.assert_close(encoder.pooler.dense.weight, model.bert.pooler.dense.weight)
    torch.testing.assert_close(encoder(ids).pooler_output, model.bert(ids).pooler_output)
    masked = AutoModelForMaskedLM.from_pretrained(folder).eval()
    assert type(masked) is BertForMaskedLM
    torch.testing.assert_close(masked(ids).logits, expected.prediction_logits)
    classifier = AutoModelForSequenceClassification.from_pretrained(folder)
    torch.testing.assert_close(classifier.bert.pooler.dense.weight, model.bert.pooler.dense.weight)
    outcome = json.loads((folder / "stage.json").read_text())["outcome"]
    assert {
        "held_out_loss",
        "held_out_next_sentence_loss",
        "held_out_next_sentence_accuracy",
    } < outcome.keys()


def test_a_masked_lm_goes_on_with_new_pooler_and_next_sentence_head(
    recipes: Recipes, undisturbed_pretraining: Path, made: tuple[Path, list[object]], tmp_path: Path
) -> None:
    _, options = made
    student = options.index("--student")
    rest = [*options[:student], *options[student + 2 :]]
    recipes.run("pretrain", *rest, "--start", undisturbed_pretraining, "--running.runs", tmp_path)
    folder = next(tmp_path.glob("pretrain-*"))
    assert type(BertForPreTraining.from_pretrained(folder)) is BertForPreTraining


def test_a_student_of_that_kind_has_the_papers_parameters() -> None:
    model = new_pretraining(Student(2, 128), 1_000, dropout=0.1, seed=0)
    assert sum(weights.numel() for weights in model.parameters()) == Student(2, 128).parameters(1_000)
