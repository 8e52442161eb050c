"""From plain text to a pre-trained student: tokenizer, packed blocks, masked LM."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wellread_hf.data.packing import masked_positions_per_block
from wellread_hf.errors import TokenizerError
from wellread_hf.metrics.baselines import with_warnings
from wellread_hf.settings import Corpus, Pretrain, Running
from wellread_hf.stages.inputs import check_sources, find_sources, identity_of, source_identity, texts_of
from wellread_hf.stages.objectives import shape_of
from wellread_hf.store.graph import Stage, find, short_name
from wellread_hf.store.places import Location
from wellread_hf.students import BERT_DROPOUT, Student

if TYPE_CHECKING:
    from wellread_hf.training.mlm_objectives import MlmObjective
    from wellread_hf.training.pretraining import Rows


def train_tokenizer(corpus: Corpus, vocabulary: int, running: Running, after: Sequence[Stage] = ()) -> Stage:
    """Trains a lower-case WordPiece tokenizer on a corpus (`corpus.tokenizer` is not used)."""
    sources = find_sources(corpus.sources, "`corpus.sources`", running, after)

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.models.wordpiece import train_wordpiece

        return train_wordpiece(texts_of(sources), vocabulary, stage.folder)

    return Stage(
        kind="tokenizer",
        name=str(vocabulary),
        root=running.runs,
        identity={"sources": source_identity(sources), "vocabulary": vocabulary},
        after=after,
        reads=[location for _, location in sources],
        work=work,
        check=lambda: check_sources(sources),
        solo=True,
    )


def pack(
    corpus: Corpus,
    block_length: int,
    mask_share: float,
    running: Running,
    after: Sequence[Stage] = (),
    documents: bool = False,
) -> Stage:
    """Packs a corpus into blocks of `block_length` tokens, or by `documents` for pairs of that length."""
    sources = find_sources(corpus.sources, "`corpus.sources`", running, after)
    tokenizer_at = find(corpus.tokenizer, "model", "`corpus.tokenizer`", running.runs, after)
    masked = masked_positions_per_block(block_length, mask_share)

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.data.documents import pack_documents
        from wellread_hf.data.packing import check_tokenizer
        from wellread_hf.data.packing import pack as pack_texts
        from wellread_hf.models.load import load_tokenizer

        tokenizer = load_tokenizer(tokenizer_at)
        check_tokenizer(tokenizer, corpus.tokenizer)
        texts = (" ".join(row) for row in texts_of(sources))
        packed = pack_documents if documents else pack_texts
        return asdict(packed(texts, tokenizer, block_length, masked, stage.folder))

    return Stage(
        kind="pack",
        name=f"{block_length}-pairs" if documents else str(block_length),
        root=running.runs,
        identity={
            "sources": source_identity(sources),
            "tokenizer": tokenizer_at.fingerprint,
            "block_length": block_length,
            "masked": masked,
            **({"documents": True} if documents else {}),
        },
        after=after,
        reads=[tokenizer_at, *(location for _, location in sources)],
        work=work,
        check=lambda: check_sources(sources),
        solo=True,
    )


def pretrain(settings: Pretrain, corpus: Corpus, running: Running, after: Sequence[Stage] = ()) -> Stage:
    """Packs the corpus for every phase and pre-trains a masked LM on it."""
    packs = [
        pack(corpus, length, settings.mask_share, running, after, settings.next_sentence)
        for length in settings.block_lengths
    ]
    tokenizer_at = find(corpus.tokenizer, "model", "`corpus.tokenizer`", running.runs, after)
    start_at = teacher_at = None
    if settings.start is not None:
        start_at = find(settings.start, "model", "`start`", running.runs, after)
    if settings.distil.teacher is not None:
        teacher_at = find(settings.distil.teacher, "model", "`distil.teacher`", running.runs, after)

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.models.load import check_fit, load_tokenizer
        from wellread_hf.models.save import save_model
        from wellread_hf.training.pretraining import pretrain as train

        tokenizer = load_tokenizer(tokenizer_at)
        model = _model(settings, start_at, len(tokenizer))
        check_fit(model, tokenizer, block_lengths=max(settings.block_lengths))
        phases = [_rows(settings, packed, tokenizer) for packed in packs]
        objective = _objective(settings, teacher_at, model, tokenizer)
        outcome = train(model, tokenizer, phases, settings, running, stage.folder, stage.digest, objective)
        if start_at is None:
            # Dropout while pre-training is a choice of this stage, not of those who use the model.
            model.config.update(
                {"hidden_dropout_prob": BERT_DROPOUT, "attention_probs_dropout_prob": BERT_DROPOUT}
            )
        save_model(model, tokenizer, stage.folder)
        return with_warnings(outcome)

    student = Student.parse(settings.student)
    name = student.name if start_at is None else short_name(settings.start)
    return Stage(
        kind="pretrain",
        name=f"{name}-seed{settings.seed}",
        root=running.runs,
        identity=_choices(settings, teacher_at)
        | {
            "start": None if start_at is None else start_at.fingerprint,
            "student": None if start_at is not None else name,
            "packs": [packed.digest for packed in packs],
            "tokenizer": tokenizer_at.fingerprint,
        },
        after=[*after, *packs],
        reads=[place for place in (tokenizer_at, start_at, teacher_at) if place is not None],
        work=work,
        shape=lambda: student.shape if start_at is None else shape_of(start_at, after),
    )


def _choices(settings: Pretrain, teacher_at: Location | None) -> dict[str, Any]:
    """Says what of the settings decides a result."""
    choices = identity_of(settings, later=("next_sentence", "distil"))
    if teacher_at is not None:
        choices["distil"]["teacher"] = teacher_at.fingerprint
    return choices


def _model(settings: Pretrain, start_at: Location | None, vocabulary: int) -> Any:
    """Builds or loads what is trained: a masked LM, with a next-sentence head if that is asked for."""
    from wellread_hf.models.load import load_bert, load_masked_lm
    from wellread_hf.models.masked_lm import new_masked_lm, new_pretraining

    if start_at is None:
        student = Student.parse(settings.student)
        dropout = BERT_DROPOUT if settings.dropout is None else settings.dropout
        new = new_pretraining if settings.next_sentence else new_masked_lm
        return new(student, vocabulary, dropout, settings.seed)
    if settings.next_sentence:
        return load_bert(start_at, settings.seed, "BertForPreTraining")[0]
    return load_masked_lm(start_at, settings.seed, settings.trust_remote_code)


def _rows(settings: Pretrain, packed: Stage, tokenizer: Any) -> "Rows":
    """Opens a packed corpus, as pairs if next sentences are predicted."""
    from wellread_hf.data.documents import DocumentPacking, open_documents
    from wellread_hf.data.packing import Blocks, Packing
    from wellread_hf.training.sentence_pairs import SentencePairs

    if settings.next_sentence:
        windows = open_documents(packed.folder, DocumentPacking(**packed.record.outcome))
        return SentencePairs(windows, tokenizer, settings.seed)
    return Blocks.open(packed.folder, Packing(**packed.record.outcome))


def _objective(
    settings: Pretrain, teacher_at: Location | None, student: Any, tokenizer: Any
) -> "MlmObjective":
    """Chooses what is minimised, and loads the teacher if there is one.

    Raises:
        TokenizerError: The teacher has other words than the student.
    """
    from wellread_hf.models.load import check_fit, load_masked_lm, load_tokenizer
    from wellread_hf.training.distilbert import LearntFromTeacher
    from wellread_hf.training.mlm_objectives import masked_words, with_next_sentence

    if teacher_at is None:
        return with_next_sentence if settings.next_sentence else masked_words
    own_code = settings.distil.trust_remote_code
    teacher = load_masked_lm(teacher_at, trust_remote_code=own_code, trained=True)
    words = load_tokenizer(teacher_at, teacher.config)
    if words.get_vocab() != tokenizer.get_vocab():
        raise TokenizerError(
            f"{teacher_at}: expected the words of `corpus.tokenizer`, which the student's "
            "distributions are over, got another vocabulary; take the teacher's tokenizer for both"
        )
    check_fit(teacher, words, block_lengths=max(settings.block_lengths))
    return LearntFromTeacher(teacher, student, settings.distil)
