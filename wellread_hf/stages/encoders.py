"""From plain text to a pre-trained student: tokenizer, packed blocks, masked LM."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from wellread_hf.data.packing import masked_positions_per_block
from wellread_hf.errors import DataError, TokenizerError
from wellread_hf.metrics.baselines import with_warnings
from wellread_hf.settings import Case, Corpus, Init, Pretrain, Running, Task
from wellread_hf.stages.guarded_corpus import guard, left_out
from wellread_hf.stages.initialising import initialise
from wellread_hf.stages.inputs import Sources, find, identity_of
from wellread_hf.stages.objectives import shape_of
from wellread_hf.store.claims import claims
from wellread_hf.store.graph import on_main_process
from wellread_hf.store.records import canonical_json, json_object, write_atomically
from wellread_hf.store.stage import Location, Place, Stage, short_name
from wellread_hf.students import BERT_DROPOUT, Shape, Student

if TYPE_CHECKING:
    from wellread_hf.models.load import BertKind
    from wellread_hf.training.mlm_objectives import MlmObjective
    from wellread_hf.training.pretraining import Rows


def train_tokenizer(corpus: Corpus, vocabulary: int, running: Running, case: Case = "lower") -> Stage:
    """Trains a WordPiece tokenizer on a corpus (`corpus.tokenizer` is not used)."""
    sources = Sources(corpus.sources, "corpus.sources", running)

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.models.wordpiece import train_wordpiece

        return train_wordpiece(sources.texts(), vocabulary, stage.folder, case)

    return Stage(
        kind="tokenizer",
        name=str(vocabulary) if case == "lower" else f"{vocabulary}-{case}",
        root=running.runs,
        # Tokenizers of before there was a choice keep their digest.
        identity={"sources": sources.identity, "vocabulary": vocabulary}
        | ({"case": case} if case != "lower" else {}),
        inputs=sources.locations,
        work=work,
        check=sources.check,
        solo=True,
    )


def pack(
    corpus: Corpus,
    block_length: int,
    mask_share: float,
    running: Running,
    documents: bool = False,
    text: Location | None = None,
    tasks: Sequence[Task] = (),
) -> Stage:
    """Packs text into blocks of `block_length` tokens, or by `documents` for pairs of that length.

    Args:
        corpus: The text, and the tokenizer that cuts it.
        block_length: Tokens a block.
        mask_share: Share of a block's tokens that will be predicted.
        running: How it is carried out.
        documents: Keep documents apart, for next-sentence prediction.
        text: What a stage makes, in place of the corpus' sources.
        tasks: Tasks whose validation and test rows are left out of the corpus' sources.
    """
    guarded = guard(corpus, tasks, running) if text is None else None
    sources = Sources(corpus.sources if text is None else [text], "corpus.sources", running)
    tokenizer_at = find(corpus.tokenizer, "model", "corpus.tokenizer", running)
    # Blocks with fewer ordinary tokens than this are left out, so it is a part of the packing.
    masked = masked_positions_per_block(block_length, mask_share)

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.data.documents import pack_documents
        from wellread_hf.data.packing import check_tokenizer
        from wellread_hf.data.packing import pack as pack_tokens
        from wellread_hf.data.tokens import Tokens, share_out
        from wellread_hf.models.load import load_tokenizer

        tokenizer = load_tokenizer(tokenizer_at)
        check_tokenizer(tokenizer, corpus.tokenizer)

        out = left_out(guarded)

        def texts() -> Iterator[str]:
            # A pair of texts is read as one: a masked LM needs no border between them.
            rows = map(" ".join, sources.texts())
            return (text for number, text in enumerate(rows) if number not in out) if out else rows

        # Removed by the run that finishes the stage.
        beside = stage.folder / "checkpoints"
        shards = share_out(texts, tokenizer, beside, lambda: stage.state == "done")

        def merged() -> Mapping[str, Any]:
            found = beside / "packing.json"
            packer = pack_documents if documents else pack_tokens
            for _, mine in claims([found]):
                if stage.state == "done":
                    return stage.record.outcome
                if mine:
                    tokens = map(Tokens.read, shards)
                    try:
                        packed = packer(tokens, tokenizer, block_length, masked, stage.folder)
                    except DataError:
                        # Of no more use: another corpus is another stage.
                        shutil.rmtree(beside)
                        raise
                    write_atomically(found, canonical_json(asdict(packed)))
            return json_object(found)

        return on_main_process(merged)

    return Stage(
        kind="pack",
        name=f"{block_length}-pairs" if documents else str(block_length),
        root=running.runs,
        identity={
            "sources": sources.identity,
            "tokenizer": tokenizer_at.fingerprint,
            "block_length": block_length,
            "masked": masked,
            # Left out where False: corpora packed before there were documents keep their digest.
            **({"documents": True} if documents else {}),
            **({} if guarded is None else {"guard": guarded.digest}),
        },
        inputs=[tokenizer_at, *sources.locations, *([] if guarded is None else [guarded])],
        work=work,
        check=sources.check,
        shared=True,
    )


def pretrain(
    settings: Pretrain,
    corpus: Corpus,
    running: Running,
    start: Place | None = None,
    teacher: Place | None = None,
    text: Location | None = None,
    grow: Place | None = None,
    tasks: Sequence[Task] = (),
) -> Stage:
    """Packs the corpus for every phase and pre-trains a masked LM on it.

    Args:
        settings: What is trained, and for how long.
        corpus: The text, and the tokenizer that cuts it.
        running: How it is carried out.
        start: An encoder to start from, in place of the one that the settings name.
        teacher: A masked LM to learn from, in place of the one that the settings name.
        text: What a stage makes, in place of the corpus' sources.
        grow: A smaller BERT to grow the student from, in place of the one that the settings name.
        tasks: Tasks whose validation and test rows are left out of the corpus.
    """
    # A phase of another length needs blocks of its own; equal lengths share one stage by their digest.
    packs = [
        pack(corpus, length, settings.mask_share, running, settings.next_sentence, text, tasks)
        for length in settings.block_lengths
    ]
    tokenizer_at = find(corpus.tokenizer, "model", "corpus.tokenizer", running)
    start, teacher = start or settings.start, teacher or settings.distil.teacher
    grow = grow or settings.grow
    if grow is not None:
        # From its corpus' tokenizer, so that a source with other words is refused.
        init = Init(
            student=settings.student,
            keep="grow",
            tokenizer=corpus.tokenizer,
            toy=settings.toy,
            seed=settings.seed,
        )
        start = initialise(init, running, grow, "grow")
    start_at = None if start is None else find(start, "model", "start", running)
    teacher_at = None
    if teacher is not None:
        teacher_at = find(teacher, "model", "distil.teacher", running)
        # Settings then name the stage's folder; the digest takes its fingerprint.
        settings = replace(settings, distil=replace(settings.distil, teacher=teacher_at.name))

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.models.load import check_fit, load_tokenizer
        from wellread_hf.models.masked_lm import dropouts
        from wellread_hf.models.save import save_model
        from wellread_hf.training.pretraining import pretrain as train

        tokenizer = load_tokenizer(tokenizer_at)
        model = _model(settings, start_at, grow is not None, len(tokenizer))
        check_fit(model, tokenizer, block_lengths=max(settings.block_lengths))
        phases = [_rows(settings, packed, tokenizer) for packed in packs]
        objective = _objective(settings, teacher_at, model, tokenizer)
        outcome = train(model, tokenizer, phases, settings, running, stage.folder, stage.digest, objective)
        if start_at is None or grow is not None:
            # Dropout while pre-training is a choice of this stage, not of those who use the model.
            model.config.update(dropouts(BERT_DROPOUT))
        save_model(model, tokenizer, stage.folder)
        # Not a part of the identity: it changes no weight.
        stated = {"language": corpus.language} if corpus.language else {}
        return with_warnings(outcome | stated)

    student = Student.parse(settings.student)
    name = student.name if start is None else short_name(start)
    return Stage(
        kind="pretrain",
        name=f"{name}-seed{settings.seed}",
        root=running.runs,
        identity=_choices(settings, teacher_at)
        | {
            "start": None if start_at is None else start_at.fingerprint,
            # A start brings its own size, so that two names of one start give one result.
            "student": None if start_at is not None else name,
            "packs": [packed.digest for packed in packs],
            "tokenizer": tokenizer_at.fingerprint,
        },
        # What it grows from may be refused, so that stage comes before the packing.
        inputs=[*(place for place in (tokenizer_at, start_at, teacher_at) if place is not None), *packs],
        work=work,
        shape=lambda: (
            Shape(student.layers, student.width(settings.toy)) if start_at is None else shape_of(start_at)
        ),
    )


def _choices(settings: Pretrain, teacher_at: Location | None) -> dict[str, Any]:
    """Says what of the settings decides a result."""
    # What a student grows from has its fingerprint in `start`. The others are newer than digests in use.
    choices = identity_of(replace(settings, grow=None), later=("next_sentence", "distil", "toy", "grow"))
    if teacher_at is not None:
        choices["distil"]["teacher"] = teacher_at.fingerprint
    return choices


def _model(settings: Pretrain, start_at: Location | None, grown: bool, vocabulary: int) -> Any:
    """Builds or loads what is trained: a masked LM, with a next-sentence head if that is asked for."""
    from wellread_hf.models.load import load_bert, load_masked_lm
    from wellread_hf.models.masked_lm import dropouts, new_masked_lm, new_pretraining

    dropout = BERT_DROPOUT if settings.dropout is None else settings.dropout
    if start_at is None:
        student = Student.parse(settings.student)
        new = new_pretraining if settings.next_sentence else new_masked_lm
        return new(student, vocabulary, dropout, settings.seed, settings.toy)
    if settings.next_sentence or grown:
        # Loaded with both heads: one that the start has is kept, not drawn again.
        kind: BertKind = "BertForPreTraining" if settings.next_sentence else "BertForMaskedLM"
        rates = dropouts(dropout) if grown else {}
        return load_bert(start_at, settings.seed, kind, **rates)[0]
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
    # The loss compares two distributions word by word, so index i must be one word in both.
    if words.get_vocab() != tokenizer.get_vocab():
        raise TokenizerError(
            f"{teacher_at}: expected the words of `corpus.tokenizer`, which the student's "
            "distributions are over, got another vocabulary; take the teacher's tokenizer for both"
        )
    check_fit(teacher, words, block_lengths=max(settings.block_lengths))
    return LearntFromTeacher(teacher, student, settings.distil)
