"""From plain text to a pre-trained student: tokenizer, packed blocks, masked LM."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from wellread_hf.data.tokens import masked_positions_per_block
from wellread_hf.graph import Stage, find, short_name
from wellread_hf.inputs import find_sources, source_identity, texts_of
from wellread_hf.settings import Corpus, Pretrain, Running
from wellread_hf.students import BERT_DROPOUT, Student


def train_tokenizer(corpus: Corpus, vocabulary: int, running: Running, after: Sequence[Stage] = ()) -> Stage:
    """Trains a lower-case WordPiece tokenizer on a corpus (`corpus.tokenizer` is not used)."""
    sources = find_sources(corpus.sources, "--corpus.sources", running, after)

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.models.wordpiece import train_wordpiece

        return train_wordpiece(texts_of(sources), vocabulary, stage.folder)

    return Stage(
        kind="tokenizer",
        name=str(vocabulary),
        root=running.runs,
        identity={"sources": source_identity(sources), "vocabulary": vocabulary},
        after=after,
        work=work,
        solo=True,
    )


def pack(
    corpus: Corpus, block_length: int, mask_share: float, running: Running, after: Sequence[Stage] = ()
) -> Stage:
    """Packs a corpus into blocks of `block_length` tokens."""
    sources = find_sources(corpus.sources, "--corpus.sources", running, after)
    tokenizer_at = find(corpus.tokenizer, "model", "--corpus.tokenizer", running.runs, after)
    masked = masked_positions_per_block(block_length, mask_share)

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.data.tokens import check_tokenizer
        from wellread_hf.data.tokens import pack as pack_texts
        from wellread_hf.models.loading import load_tokenizer

        tokenizer = load_tokenizer(tokenizer_at, "--corpus.tokenizer")
        check_tokenizer(tokenizer, corpus.tokenizer)
        texts = (" ".join(row) for row in texts_of(sources))
        return asdict(pack_texts(texts, tokenizer, block_length, masked, stage.folder))

    return Stage(
        kind="pack",
        name=str(block_length),
        root=running.runs,
        identity={
            "sources": source_identity(sources),
            "tokenizer": tokenizer_at.fingerprint,
            "block_length": block_length,
            "masked": masked,
        },
        after=after,
        work=work,
        solo=True,
    )


def pretrain(settings: Pretrain, corpus: Corpus, running: Running, after: Sequence[Stage] = ()) -> Stage:
    """Packs the corpus for every phase and pre-trains a masked LM on it."""
    packs = [pack(corpus, length, settings.mask_share, running, after) for length in settings.block_lengths]
    tokenizer_at = find(corpus.tokenizer, "model", "--corpus.tokenizer", running.runs, after)
    start_at = None
    if settings.start is not None:
        start_at = find(settings.start, "model", "--start", running.runs, after)

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.data.tokens import Blocks, Packing
        from wellread_hf.models.loading import check_fit, load_masked_lm, load_tokenizer
        from wellread_hf.models.masked_lm import new_masked_lm
        from wellread_hf.models.saving import save_model
        from wellread_hf.training.pretraining import pretrain as train

        tokenizer = load_tokenizer(tokenizer_at, "--corpus.tokenizer")
        if start_at is not None:
            model = load_masked_lm(start_at, "--start", settings.seed, settings.trust_remote_code)
        else:
            student = Student.parse(settings.student)
            dropout = BERT_DROPOUT if settings.dropout is None else settings.dropout
            model = new_masked_lm(student, len(tokenizer), dropout, settings.seed)
        check_fit(model, tokenizer, max(settings.block_lengths), "--block-lengths")
        phases = [Blocks.open(packed.folder, Packing(**packed.record.outcome)) for packed in packs]
        outcome = train(model, tokenizer, phases, settings, running, stage.folder, stage.digest)
        if start_at is None:
            # Dropout while pre-training is a choice of this stage, not of those who use the model.
            model.config.update(
                {"hidden_dropout_prob": BERT_DROPOUT, "attention_probs_dropout_prob": BERT_DROPOUT}
            )
        save_model(model, tokenizer, stage.folder)
        return outcome

    name = Student.parse(settings.student).name if start_at is None else short_name(settings.start)
    return Stage(
        kind="pretrain",
        name=f"{name}-seed{settings.seed}",
        root=running.runs,
        identity=asdict(settings)
        | {
            "start": None if start_at is None else start_at.fingerprint,
            "student": None if start_at is not None else name,
            "packs": [packed.digest for packed in packs],
            "tokenizer": tokenizer_at.fingerprint,
        },
        after=[*after, *packs],
        work=work,
    )
