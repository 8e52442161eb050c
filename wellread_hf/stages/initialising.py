"""A student that starts from another BERT: parts of a larger one, or a smaller one grown to its size."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wellread_hf.data.corpus import is_pending
from wellread_hf.errors import SettingsError, TokenizerError
from wellread_hf.settings import Init, Running
from wellread_hf.stages.inputs import find, identity_of
from wellread_hf.store.places import fetch
from wellread_hf.store.stage import Location, Place, Stage, short_name
from wellread_hf.students import Shape, Student

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")


def initialise(settings: Init, running: Running, source: Place | None = None, field: str = "source") -> Stage:
    """Takes a student's first weights from another BERT, and saves them as a `BertForMaskedLM` folder.

    One that is grown from a `BertForPreTraining` is a `BertForPreTraining`.

    Args:
        settings: What is taken, and from where.
        running: How it is carried out.
        source: What to take from, in place of the one that the settings name.
        field: The setting that named it, for errors.

    Raises:
        SettingsError: No source is named.
    """
    source = source or settings.source
    if source is None:
        raise SettingsError(
            "`source` is missing: expected a BERT to take weights from, a folder (wellread pretrain makes "
            "one) or a Hub id"
        )
    source_at = find(source, "model", field, running)
    tokenizer_at = None
    if settings.tokenizer is not None:
        tokenizer_at = find(settings.tokenizer, "model", "tokenizer", running)
    student = None if settings.student is None else Student.parse(settings.student)

    def check() -> None:
        from wellread_hf.models.bert_names import read_config
        from wellread_hf.models.init import check_growth, check_width

        # Of a source that a stage has yet to make, nothing can be read.
        if student is None or is_pending(source_at):
            return
        config = read_config(source_at)
        if settings.keep == "grow":
            check_growth(config, student, settings.toy)
        else:
            check_width(config, student)

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.models.bert_names import NEXT_SENTENCE, WORDS
        from wellread_hf.models.grow import stack_order, stacked, widened
        from wellread_hf.models.init import (
            check_layers,
            places,
            with_layers,
            with_word_embeddings,
        )
        from wellread_hf.models.load import check_fit, load_bert
        from wellread_hf.models.save import save_model

        check()
        grows = settings.keep == "grow"
        bert, new, left_out = load_bert(
            source_at, settings.seed, "BertForPreTraining" if grows else "BertForMaskedLM"
        )
        if set(new) & set(NEXT_SENTENCE):
            # The source has no such head that could grow.
            bert, new, left_out = load_bert(source_at, settings.seed, "BertForMaskedLM")
        words = _tokenizer(source_at, tokenizer_at, bert.config)
        # A vocab.txt sets no length, and a student has no more positions than its source.
        words.model_max_length = min(words.model_max_length, bert.config.max_position_embeddings)
        check_fit(bert, words)
        # Of word embeddings alone no layer is taken.
        numbers: Sequence[int] = ()
        if settings.keep == "embeddings":
            assert student is not None  # Init asks for one
            model = with_word_embeddings(bert, student, settings.seed)
            new = [name for name in model.state_dict() if name not in WORDS]
        elif grows:
            assert student is not None  # Init asks for one
            numbers = stack_order(student.layers, bert.config.num_hidden_layers)
            # Stacked first, so that two copies of a layer are widened differently.
            model = widened(stacked(bert, student.layers), student.width(settings.toy), settings.seed)
        else:
            numbers = _numbers(settings, student, bert)
            check_layers(numbers, bert.config.num_hidden_layers)
            model = with_layers(bert, numbers)
        save_model(model, words, stage.folder)
        return {
            "layers": list(numbers),
            "source_layers": bert.config.num_hidden_layers,
            **({"source_width": bert.config.hidden_size} if grows else {}),
            "new": places(new),
            "left_out": left_out,
            "parameters": sum(values.numel() for values in model.parameters()),
        }

    made = short_name(source) if student is None else student.name
    # In the folder's name, so that two students of one source are distinguished.
    kept = "layers-" + "-".join(map(str, settings.layers)) if settings.layers else settings.keep
    return Stage(
        kind="init",
        name=f"{made}-{kept}-seed{settings.seed}",
        root=running.runs,
        identity=identity_of(settings, later=("toy",))
        | {
            "source": source_at.fingerprint,
            "student": None if student is None else student.name,
            "tokenizer": None if tokenizer_at is None else tokenizer_at.fingerprint,
        },
        inputs=[source_at, *([] if tokenizer_at is None else [tokenizer_at])],
        work=work,
        check=check,
        solo=True,
        shape=lambda: None if student is None else Shape(student.layers, student.width(settings.toy)),
    )


def _numbers(settings: Init, student: Student | None, source: "BertForMaskedLM") -> Sequence[int]:
    """Returns which layers of the source to take, from 1; some may not be there."""
    from wellread_hf.models.init import spread_layers

    there = source.config.num_hidden_layers
    # DistilBERT's choice: half the depth of its source.
    wanted = max(1, there // 2) if student is None else student.layers
    if settings.layers:
        return settings.layers
    if settings.keep == "spread" and wanted <= there:
        return spread_layers(wanted, there)
    return range(1, wanted + 1)


def _tokenizer(source_at: Location, other_at: Location | None, config: Any) -> Any:
    """Loads the source's tokenizer, or another one, which must have the same words.

    Raises:
        TokenizerError: The source has one of its own, with other words.
    """
    from wellread_hf.models.load import load_tokenizer

    if other_at is None:
        return load_tokenizer(source_at, config)
    other = load_tokenizer(other_at)
    # Some released checkpoints come without a tokenizer; then the given one cannot be compared.
    if any(fetch(source_at, file) for file in _TOKENIZER_FILES):
        own = load_tokenizer(source_at, config)
        if own.get_vocab() != other.get_vocab():
            raise TokenizerError(
                f"{other_at}: expected the words of the source, whose embeddings are "
                f"taken, got another vocabulary than that of {source_at.name}; leave out `tokenizer`"
            )
    return other
