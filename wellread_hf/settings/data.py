"""Settings of what is read: a task, a corpus, a transfer set."""

import re

from pydantic import model_validator

from wellread_hf.errors import SettingsError
from wellread_hf.settings.fields import Count, Seed, checked


@checked("task")
class Task:
    """A labelled data set: one of GLUE's by name, or your own with the columns named."""

    # The task on which the paper compares all 24 sizes.
    name: str = "sst2"
    """GLUE's name of the task (cola, sst2, mrpc, ...), or any name for a data set of your own."""
    data: str | None = None
    """Hub id, folder in Hub layout, or file of training rows (.csv, .tsv, .jsonl, .json, .parquet; also .gz;
    .conll with `tagging`).
    GLUE: `nyu-mll/glue`."""
    config: str | None = None
    """Configuration of a Hub data set. GLUE: the task's name."""
    revision: str | None = None
    """Revision (branch, tag or commit) of a Hub data set."""
    validation: str | None = None
    """File of validation rows, where `data` is a file."""
    test: str | None = None
    """File of labelled test rows, where `data` is a file and you have some."""
    columns: tuple[str, ...] = ()
    """Text columns: one, or two for pairs. GLUE: known."""
    label: str = "label"
    """Column of the labels."""
    labels: tuple[str, ...] = ()
    """Names of the classes in order; empty: read from the data. Not for regression."""
    regression: bool = False
    """The label is a number to predict, not a class."""
    multi_label: bool = False
    """A row may have several classes, or none. `label` is a column of lists of class names or numbers (in CSV
    as JSON text, `["toxic", "threat"]`), or columns of 0 and 1, one a class, joined by `+`:
    `toxic+insult+threat`."""
    metric: str | None = None
    """Score that chooses the best evaluation, shown before the usual ones: `accuracy`, `f1` (of the second of
    two classes), `f1_macro`, `matthews_correlation`, or one class's F1, `f1:CLASS`."""
    tagging: bool = False
    """Every word has a class, as in entity recognition. `columns` names the column of a row's list of words,
    `label` that of its list of tags (in CSV as JSON text); a .conll file needs neither."""
    train_rows: Count | None = None
    """Take this many training rows, drawn with `train_seed`."""
    # Apart from the training's seed, so that runs of several seeds share their rows.
    train_seed: Seed = 0
    """Seed of that draw."""

    @model_validator(mode="after")
    def _columns_are_one_text_or_a_pair(self) -> "Task":
        if len(self.columns) > 2:
            raise SettingsError(
                f"`task.columns` takes one text column or two for pairs, got {len(self.columns)}"
            )
        if len(set(self.columns)) < len(self.columns):
            raise SettingsError(f"`task.columns`: expected each column once, got {' '.join(self.columns)}")
        return self

    @model_validator(mode="after")
    def _labels_are_of_one_kind(self) -> "Task":
        classes = self.label.split("+") if self.multi_label else [self.label]
        if len(set(classes)) < len(classes):
            raise SettingsError(f"`task.label`: expected each column of a class once, got {self.label}")
        if self.regression and self.labels:
            raise SettingsError(
                f"`task.regression` has no classes, got `task.labels` {' '.join(self.labels)}; give one of "
                "them"
            )
        if self.regression and self.multi_label:
            raise SettingsError(
                "expected `task.regression` or `task.multi_label`, got both; give one of them"
            )
        return self

    @model_validator(mode="after")
    def _words_are_of_one_column(self) -> "Task":
        if not self.tagging:
            return self
        for field in ("regression", "multi_label"):
            if getattr(self, field):
                raise SettingsError(f"expected `task.tagging` or `task.{field}`, got both; give one of them")
        if len(self.columns) > 1:
            raise SettingsError(
                f"`task.columns`: expected one column of lists of words with `task.tagging`, got "
                f"{' '.join(self.columns)}; name that column"
            )
        return self

    @model_validator(mode="after")
    def _name_fits_a_folder(self) -> "Task":
        if re.fullmatch(r"[A-Za-z0-9][\w.-]*", self.name) is None:
            raise SettingsError(
                f"`task.name` is part of a folder's name: expected letters, digits, . _ -, got {self.name!r}"
            )
        return self


@checked("corpus")
class Corpus:
    """Plain text for pre-training, and the tokenizer that cuts it."""

    # One of BERT's two corpora.
    sources: tuple[str, ...] = ("wikimedia/wikipedia,config=20231101.en",)
    """Each `NAME[,config=..][,split=train][,revision=..][,column=text][,rows=N]`: Hub id, folder in Hub
    layout, or .txt, .csv, .tsv, .jsonl, .json, .parquet file (also .gz)."""
    # The release's 30,522 lower-case WordPieces, so that its weights and teachers fit.
    tokenizer: str = "google-bert/bert-base-uncased"
    """Hub id (`NAME@REVISION`) or folder of a fast tokenizer with a mask token."""
    guard: bool = True
    """Leave out texts with rows of the task's validation and test sets in them, as `transfer.guard` does."""
    held_out: tuple[str, ...] = ()
    """Sources of other rows to leave out, each as in `sources`, e.g.
    `nyu-mll/glue,config=sst2,split=validation,column=sentence`."""

    language: tuple[str, ...] = ()
    """ISO 639 codes of the text's languages, e.g. `de`, for model cards. Default: what its data sets on the
    Hub say."""

    @model_validator(mode="after")
    def _languages_are_codes(self) -> "Corpus":
        if wrong := [code for code in self.language if not re.fullmatch("[a-z]{2,3}", code)]:
            raise SettingsError(
                "`corpus.language`: expected ISO 639 codes of two or three small letters, e.g. de, got "
                f"{' '.join(map(repr, wrong))}"
            )
        return self

    @model_validator(mode="after")
    def _has_sources(self) -> "Corpus":
        if not self.sources:
            raise SettingsError("`corpus.sources` needs at least one source of text, got none")
        return self


@checked("transfer")
class Transfer:
    """The transfer set: text without labels that the teacher labels."""

    sources: tuple[str, ...] = ("task",)
    """`task` (the task's training text without its labels) and sources as in a corpus, with `column=A` or
    `column=A+B`."""
    rows: Count | None = None
    """Label this many rows, drawn with `seed`; default: all."""
    seed: Seed = 0
    """Seed of that draw."""
    guard: bool = True
    """Leave out rows of the task's validation and test sets: the same but for case, blanks and punctuation,
    or with 80 % of the word 3-grams of such a row of at least 8 words."""

    @model_validator(mode="after")
    def _has_sources(self) -> "Transfer":
        if not self.sources:
            raise SettingsError("`transfer.sources` needs at least one source of text, got none")
        return self
