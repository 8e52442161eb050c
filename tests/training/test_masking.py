"""The masked-LM collator: how many, which, what is shown; (seed, epoch, block) alone decides."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch.utils.data import DataLoader
from transformers import BertTokenizer

from wellread_hf.errors import DataError, TokenizerError
from wellread_hf.training.masking import MlmCollator

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# Words of one to six pieces.
PIECES = [f"{name}{number}" for number in range(40) for name in ("w", "##p")]


@pytest.fixture(scope="module")
def tokenizer():
    return BertTokenizer(vocab={piece: index for index, piece in enumerate([*SPECIAL, *PIECES])})


def blocks(tokenizer, count, length, seed=0):
    """Blocks as packing makes them: [CLS] ... [SEP], separators and a few unknown words in between."""
    draw = np.random.default_rng(seed)
    ids = draw.integers(len(SPECIAL), len(tokenizer), (count, length))
    ids[draw.random(ids.shape) < 0.1] = tokenizer.sep_token_id
    ids[draw.random(ids.shape) < 0.05] = tokenizer.unk_token_id
    ids[:, 0], ids[:, -1] = tokenizer.cls_token_id, tokenizer.sep_token_id
    return ids


def examples(ids, epoch=0, first=0):
    return [{"input_ids": row, "epoch": epoch, "block": first + index} for index, row in enumerate(ids)]


def shown_at(batch):
    return torch.gather(batch["input_ids"], 1, batch["positions"])


@pytest.mark.parametrize("whole_word", [False, True])
@pytest.mark.parametrize("length", [16, 32, 50, 64, 128, 512])
def test_exactly_fifteen_in_a_hundred_positions_are_masked(tokenizer, length, whole_word):
    ids = blocks(tokenizer, 20, length)
    batch = MlmCollator(tokenizer, whole_word=whole_word)(examples(ids))
    assert batch["positions"].shape == batch["labels"].shape == (20, round(0.15 * length))
    # Ascending without a double.
    assert (batch["positions"].diff(dim=1) > 0).all()
    assert batch["input_ids"].shape == ids.shape
    assert {values.dtype for values in batch.values()} == {torch.int64}


@pytest.mark.parametrize("whole_word", [False, True])
def test_special_tokens_are_never_masked_and_never_the_random_word(tokenizer, whole_word):
    ids = blocks(tokenizer, 1_000, 64)
    batch = MlmCollator(tokenizer, whole_word=whole_word)(examples(ids))
    special = torch.tensor(tokenizer.all_special_ids)
    assert not torch.isin(batch["labels"], special).any()
    others = special[special != tokenizer.mask_token_id]
    assert not torch.isin(shown_at(batch), others).any()


@pytest.mark.parametrize("whole_word", [False, True])
def test_labels_are_the_originals_and_all_else_is_as_it_was(tokenizer, whole_word):
    ids = torch.from_numpy(blocks(tokenizer, 200, 64))
    before = ids.clone()
    batch = MlmCollator(tokenizer, whole_word=whole_word)(examples(ids.numpy()))
    assert torch.equal(ids, before)
    assert torch.equal(batch["labels"], torch.gather(ids, 1, batch["positions"]))
    restored = batch["input_ids"].scatter(1, batch["positions"], batch["labels"])
    assert torch.equal(restored, ids)


@pytest.mark.parametrize("whole_word", [False, True])
def test_eighty_ten_ten(tokenizer, whole_word):
    batch = MlmCollator(tokenizer, whole_word=whole_word)(examples(blocks(tokenizer, 3_000, 64)))
    shown, labels = shown_at(batch), batch["labels"]
    count = labels.numel()
    # One random word in V is the original by chance.
    by_chance = 0.1 / len(PIECES)
    expected = {
        "masked": (0.8, shown == tokenizer.mask_token_id),
        "unchanged": (0.1 + by_chance, shown == labels),
        "random": (0.1 - by_chance, (shown != labels) & (shown != tokenizer.mask_token_id)),
    }
    for name, (share, found) in expected.items():
        error = (share * (1 - share) / count) ** 0.5
        assert abs(found.float().mean().item() - share) < 4 * error, name


def test_the_random_word_is_uniform_over_all_ordinary_words(tokenizer):
    batch = MlmCollator(tokenizer)(examples(blocks(tokenizer, 4_000, 64)))
    shown, labels = shown_at(batch), batch["labels"]
    random = shown[(shown != labels) & (shown != tokenizer.mask_token_id)]
    counts = np.bincount(random.numpy(), minlength=len(tokenizer))[len(SPECIAL) :]
    assert chisquare(counts).pvalue > 1e-3


def test_every_ordinary_position_is_masked_equally_often(tokenizer):
    ids = np.tile(blocks(tokenizer, 1, 40, seed=3), (4_000, 1))
    batch = MlmCollator(tokenizer)(examples(ids))
    counts = np.bincount(batch["positions"].flatten().numpy(), minlength=40)
    ordinary = ~np.isin(ids[0], tokenizer.all_special_ids)
    assert (counts[~ordinary] == 0).all()
    assert chisquare(counts[ordinary]).pvalue > 1e-3


class Epochs:
    """Blocks of two epochs, in sequence, as a run reads them."""

    def __init__(self, ids):
        self.rows = [*examples(ids, epoch=0), *examples(ids, epoch=1)]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


@pytest.mark.parametrize("whole_word", [False, True])
def test_masks_do_not_depend_on_batches_or_workers(tokenizer, whole_word):
    collator = MlmCollator(tokenizer, whole_word=whole_word, seed=3)
    data = Epochs(blocks(tokenizer, 21, 32))
    expected = collator(data.rows)
    for batch_size, workers in ((1, 0), (4, 0), (13, 0), (4, 2)):
        loader = DataLoader(data, batch_size=batch_size, num_workers=workers, collate_fn=collator)
        batches = list(loader)
        for name, values in expected.items():
            assert torch.equal(torch.cat([batch[name] for batch in batches]), values), (batch_size, workers)


def test_masks_do_not_depend_on_what_was_masked_before(tokenizer):
    rows = examples(blocks(tokenizer, 10, 32))
    forward = MlmCollator(tokenizer)(rows)
    used = MlmCollator(tokenizer)
    used(examples(blocks(tokenizer, 5, 32, seed=9), epoch=7))
    np.random.seed(1)  # the global generator is what must not matter
    torch.manual_seed(1)
    backward = used(rows[::-1])
    for name, values in forward.items():
        assert torch.equal(backward[name].flip(0), values)


def test_masks_differ_by_epoch_block_and_seed(tokenizer):
    ids = np.tile(blocks(tokenizer, 1, 64), (50, 1))
    zero = MlmCollator(tokenizer, seed=0)
    seen = [
        zero(examples(ids))["positions"],
        zero(examples(ids, epoch=1))["positions"],
        zero(examples(ids, first=50))["positions"],
        MlmCollator(tokenizer, seed=1)(examples(ids))["positions"],
    ]
    masks = {tuple(row.tolist()) for positions in seen for row in positions}
    assert len(masks) == 200


def words_of(pieces):
    """Groups the positions of ordinary pieces into words, as a reader would."""
    words = []
    open_word = False
    for position, piece in enumerate(pieces):
        if piece in SPECIAL:
            open_word = False
        elif piece.startswith("##") and open_word:
            words[-1].append(position)
        else:
            words.append([position])
            open_word = True
    return words


def test_whole_words_are_masked_whole_except_one_at_most(tokenizer):
    ids = blocks(tokenizer, 500, 64)
    batch = MlmCollator(tokenizer, whole_word=True)(examples(ids))
    cut = []
    for row, positions in zip(ids, batch["positions"].tolist(), strict=True):
        words = words_of(tokenizer.convert_ids_to_tokens(row))
        masked = [len(set(word) & set(positions)) for word in words]
        assert sum(masked) == len(positions)
        cut.append(sum(0 < count < len(word) for count, word in zip(masked, words, strict=True)))
    assert max(cut) <= 1
    # Where words of one piece are left to fill the gap, none has to be cut.
    assert np.mean(cut) < 0.1


def test_whole_words_are_cut_only_where_nothing_else_fits(tokenizer):
    # Two words of 31 pieces, 9 positions to mask: no word fits.
    pieces = ["[CLS]", "w1", *["##p1"] * 30, "w2", *["##p2"] * 29, "[SEP]"]
    ids = np.array([tokenizer.convert_tokens_to_ids(pieces)])
    batch = MlmCollator(tokenizer, whole_word=True)(examples(ids))
    positions = batch["positions"][0].tolist()
    assert len(positions) == round(0.15 * len(pieces))
    assert positions == list(range(positions[0], positions[0] + len(positions)))


def test_a_piece_at_a_blocks_start_begins_a_word_of_its_own(tokenizer):
    # A block's border may cut a word, and a separator ends one.
    pieces = ["[CLS]", "##p1", "w1", "[SEP]", "##p2", "w2", "##p3", "[UNK]", "##p4", *["w3"] * 6, "[SEP]"]
    ids = np.tile(tokenizer.convert_tokens_to_ids(pieces), (400, 1))
    batch = MlmCollator(tokenizer, mask_share=0.0625, whole_word=True)(examples(ids))
    counts = np.bincount(batch["positions"].flatten().numpy(), minlength=len(pieces))
    # K = 1: only words of one piece fit. `w2 ##p3` is the one word of two.
    assert (counts > 0).tolist() == [
        piece not in SPECIAL and position not in (5, 6) for position, piece in enumerate(pieces)
    ]


def test_whole_words_of_byte_level_pieces_start_at_a_space():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    pieces = [*SPECIAL, "Ġa", "b", "Ġc", "d", "e"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]")),
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    ids = np.tile(tokenizer.convert_tokens_to_ids(["[CLS]", "Ġa", "b", "Ġc", "d", "e", "[SEP]"]), (100, 1))
    batch = MlmCollator(tokenizer, mask_share=3 / 7, whole_word=True)(examples(ids))
    assert {tuple(row) for row in batch["positions"].tolist()} == {(3, 4, 5), (1, 2, 3)}


def test_whole_words_need_pieces_that_show_where_words_start():
    tokenizer = BertTokenizer(vocab={piece: index for index, piece in enumerate([*SPECIAL, "a", "b"])})
    with pytest.raises(TokenizerError, match=r"show where words start .* leave out `whole_word`"):
        MlmCollator(tokenizer, whole_word=True)


def test_a_tokenizer_without_mask_token_is_refused(toy_folder):
    from transformers import AutoTokenizer

    bare = AutoTokenizer.from_pretrained(toy_folder / "tokenizer")
    bare.mask_token = None
    with pytest.raises(
        TokenizerError, match=r"expected a tokenizer with a mask token, got .* without one; take"
    ):
        MlmCollator(bare)


def test_a_block_of_unknown_words_is_refused(tokenizer):
    ids = np.full((1, 32), tokenizer.unk_token_id)
    ids[0, 1:5] = len(SPECIAL)
    with pytest.raises(DataError, match="expected at least 5 ordinary tokens in a block of 32, got 4"):
        MlmCollator(tokenizer)(examples(ids))


def test_masks_are_pinned(tokenizer):
    ids = np.tile(np.arange(len(SPECIAL), len(SPECIAL) + 32), (2, 1))
    batch = MlmCollator(tokenizer, seed=1)(examples(ids, epoch=2, first=3))
    assert batch["positions"].tolist() == [[10, 11, 20, 24, 27], [3, 7, 18, 26, 29]]
    assert shown_at(batch).tolist() == [[58, 4, 25, 4, 4], [4, 4, 4, 4, 4]]
