"""A vocabulary cut to the pieces that some text uses: fewer word embeddings, the same answers.

WordPiece takes the longest piece that fits. So a word whose pieces are all kept is cut as before, and as the
rows of the embeddings are only moved, the model gives the same numbers for it. A word of a lost piece is cut
into smaller ones: single characters of the text are always kept.
"""

import copy
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import torch

from wellread_hf.errors import SettingsError, TokenizerError
from wellread_hf.models.plain_text import PlainText

# Texts tokenised in one call.
_BATCH = 8_192
_EXAMPLES = 10


def count_pieces(texts: Iterable[tuple[str, ...]], tokenizer: Any) -> Counter[int]:
    """Counts the pieces of texts by id, uncut and without special tokens."""
    words, found, left = PlainText(tokenizer), Counter[int](), iter(texts)
    while rows := list(islice(left, _BATCH)):
        for column in zip(*rows, strict=True):
            ids = words([list(column)], add_special_tokens=False, return_attention_mask=False)["input_ids"]
            found.update(number for row in ids for number in row)
    return found


def kept_pieces(used: Counter[int], tokenizer: Any, most: int | None) -> list[int]:
    """Chooses the pieces to keep, by id in rising order.

    Special tokens and single characters, those of ASCII and of the text, are kept whatever is asked for, then
    what is used most.

    Args:
        used: How often the text uses each piece.
        tokenizer: A WordPiece tokenizer.
        most: Pieces to keep: fewer than the text uses, or more; then the first words of the vocabulary, which
            are the most frequent ones of the text that it was made of. None: what is used.

    Raises:
        TokenizerError: The tokenizer is of another kind.
        SettingsError: Fewer are asked for than have to be kept.
    """
    model = _rules(tokenizer)["model"]
    if model["type"] != "WordPiece":
        raise TokenizerError(
            f"expected a WordPiece tokenizer, as BERT's, got {model['type']} in {tokenizer.name_or_path}; "
            "other kinds cut a text by more than their pieces"
        )
    prefix = model["continuing_subword_prefix"]
    plain = {piece.removeprefix(prefix): set[int]() for piece in model["vocab"]}
    for piece, number in model["vocab"].items():
        plain[piece.removeprefix(prefix)].add(number)
    # BERT's vocabulary has some 900 more characters, of scripts that the text may not be in.
    letters = {letter for piece, numbers in plain.items() if numbers & used.keys() for letter in piece}
    always = {number for letter in {*letters, *map(chr, range(33, 127))} for number in plain.get(letter, ())}
    always |= set(tokenizer.added_tokens_decoder) | {model["vocab"][model["unk_token"]]}
    if most is not None and most < len(always):
        raise SettingsError(
            f"`vocabulary` {most}: expected at least {len(always)}, the special tokens and single characters"
        )

    def rank(piece: str) -> tuple[int, bool, int]:
        # Before its words BERT's vocabulary has unused pieces, and characters of all scripts.
        rare = len(piece.removeprefix(prefix)) == 1 or piece.startswith("[unused")
        number = model["vocab"][piece]
        return -used[number], rare, number

    ranked = [model["vocab"][piece] for piece in sorted(model["vocab"], key=rank)]
    others = [number for number in ranked if number not in always]
    count = sum(number in used for number in others) if most is None else most - len(always)
    return sorted([*always, *others[:count]])


def pruned_tokenizer(tokenizer: Any, kept: Sequence[int]) -> Any:
    """Returns a tokenizer of the kept pieces, which are numbered anew in their order."""
    new = {old: number for number, old in enumerate(kept)}
    rules = _rules(tokenizer)
    vocabulary = rules["model"]["vocab"]
    rules["model"]["vocab"] = {piece: new[old] for piece, old in vocabulary.items() if old in new}
    for token in rules["added_tokens"]:
        token["id"] = new[token["id"]]
    # What adds the special tokens to a row names their ids, in one of two forms.
    around = rules["post_processor"] or {}
    for name in {"sep", "cls"} & around.keys():
        around[name][1] = new[around[name][1]]
    for token in around.get("special_tokens", {}).values():
        token["ids"] = [new[old] for old in token["ids"]]
    other = copy.deepcopy(tokenizer)
    other._tokenizer = type(tokenizer.backend_tokenizer).from_str(json.dumps(rules))
    return other


def pruned_model(model: Any, kept: Sequence[int]) -> Any:
    """Returns a model of the same class with the kept rows of its word embeddings and masked-LM head.

    Args:
        model: Any of transformers' with one table of word embeddings.
        kept: Ids of the pieces, rising.
    """
    words, head = model.get_input_embeddings(), model.get_output_embeddings()
    tables = {id(words.weight), *(id(part) for part in (head.parameters() if head is not None else ()))}
    config, new = copy.deepcopy(model.config), {old: number for number, old in enumerate(kept)}
    config.vocab_size = len(kept)
    for name, number in config.to_dict().items():
        if name.endswith("token_id") and number is not None:
            # Of a token that the tokenizer does not have, such as BERT's end of a sequence, there is no row.
            setattr(config, name, new.get(number))
    smaller = type(model)(config)
    rows = torch.tensor(kept)
    state = {}
    for name, part in model.state_dict(keep_vars=True).items():
        # BERT's head has its bias twice: by itself, and in its matrix.
        in_table = id(part) in tables or name.endswith("predictions.bias")
        state[name] = part.detach()[rows] if in_table else part.detach()
    smaller.load_state_dict(state)
    return smaller.eval()


def split_differently(texts: Iterable[tuple[str, ...]], before: Any, after: Any) -> Mapping[str, Any]:
    """Compares how two tokenizers cut the words of a text.

    Args:
        texts: Rows of one or two texts.
        before: The whole tokenizer.
        after: The pruned one.

    Returns:
        How many `words` there are; `otherwise`, the share of them that is split differently; `unknown`, the
        share that is no longer known; `examples`, the most frequent words that are split differently.
    """
    backend, smaller = before.backend_tokenizer, after.backend_tokenizer.model
    words = Counter[str]()
    for text in chain.from_iterable(texts):
        plain = text if backend.normalizer is None else backend.normalizer.normalize_str(text)
        words.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(plain))
    pieces = {
        word: [[piece.value for piece in model.tokenize(word)] for model in (backend.model, smaller)]
        for word in words
    }
    cut = [word for word, _ in words.most_common() if pieces[word][0] != pieces[word][1]]
    unknown = [word for word in cut if after.unk_token in pieces[word][1]]
    total = max(words.total(), 1)
    return {
        "words": words.total(),
        "otherwise": sum(words[word] for word in cut) / total,
        "unknown": sum(words[word] for word in unknown) / total,
        "examples": cut[:_EXAMPLES],
    }


def _rules(tokenizer: Any) -> Any:
    return json.loads(tokenizer.backend_tokenizer.to_str())
