"""What lies in an exported model's folder: its files, and what `onnx/export.json` says of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wellread_hf.errors import SettingsError, SourceError, library_errors_as, nearest

File = Literal["int8", "fp32"]

FP32, INT8 = "model.onnx", "model_quantized.onnx"
FILES: Mapping[str, str] = {"int8": f"onnx/{INT8}", "fp32": f"onnx/{FP32}"}
EXPORT = "onnx/export.json"
# Kinds whose answers are no labels.
_WITHOUT_LABELS = ("fill-mask", "features")


@dataclass(frozen=True, slots=True)
class ExportFacts:
    """The content of `onnx/export.json`, which is the outcome of an export's stage as well.

    Attributes:
        content: All of it; empty beside the graphs of other exporters.
    """

    content: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "ExportFacts":
        """Reads an export's folder.

        Raises:
            SourceError: The file cannot be read.
        """
        return cls(read_object(folder / EXPORT, needed=False))

    @property
    def kind(self) -> str | None:
        """What its answers are: that of a classifier's task, `fill-mask` or `features`."""
        return self.content.get("kind")

    @property
    def gives_labels(self) -> bool:
        """Whether it answers with labels; a classifier may be exported without its head, too."""
        return self.kind not in _WITHOUT_LABELS

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the model that was exported."""
        return (self.content.get("model") or {}).get("fingerprint")

    @property
    def weights_sha256(self) -> str | None:
        """The SHA-256 of the weights that were exported."""
        return (self.content.get("model") or {}).get("weights_sha256")

    def refused(self, file: str) -> str | None:
        """Returns why the export did not keep a graph; None where it did."""
        return self._figures(file).get("refused")

    def graph(self, file: str) -> Mapping[str, Any]:
        """Returns the figures of a graph (`fp32`, `int8`) that the export kept; empty without one."""
        return {} if self.refused(file) is not None else self._figures(file)

    def _figures(self, file: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.content.get("files", {}).get(Path(FILES[file]).name, {})
        return found


def choose(folder: Path, file: str | None, facts: ExportFacts) -> File:
    """Returns which graph of a folder answers: the one asked for, else int8 where there is one.

    Raises:
        SettingsError: `file` is no name of a graph.
        SourceError: It is not there.
    """
    if file is not None and file not in FILES:
        raise SettingsError(f"`file`: expected int8 or fp32, got {file!r}; take {nearest(file, FILES, 1)}")
    there: list[File] = [each for each in ("int8", "fp32") if (folder / FILES[each]).is_file()]
    for each in there:
        if file in (None, each):
            return each
    wanted, refused = FILES[file or "fp32"], facts.refused(file or "fp32")
    why = f" (refused by the export: {refused})" if refused else ""
    raise SourceError(
        f"expected {wanted} in {folder}, found none{why}; "
        + (f"take `file` {there[0]}" if there else "`wellread export MODEL` writes it")
    )


def kind_of(config: Mapping[str, Any]) -> str:
    """Returns the kind of a model whose exporter wrote no `export.json`, as its config says."""
    architecture, *_ = config.get("architectures") or ("",)
    if architecture.endswith("ForMaskedLM"):
        return "fill-mask"
    if architecture.endswith("ForTokenClassification"):
        return "tagging"
    if not architecture.endswith("ForSequenceClassification"):
        return "features"
    problem = config.get("problem_type")
    if problem == "regression" or len(config.get("id2label") or "12") == 1:
        return "regression"
    return "multi-label" if problem == "multi_label_classification" else "classification"


def positions_of(config: Mapping[str, Any]) -> int:
    """Returns how many tokens a model can take, as its config says; 512 where that says nothing."""
    positions: int = config.get("max_position_embeddings") or config.get("n_positions") or 512
    # RoBERTa and its kin count their positions from that of the padding on.
    if "roberta" in str(config.get("model_type")) or config.get("model_type") in ("camembert", "mpnet"):
        positions -= config.get("pad_token_id", 1) + 1
    return positions


def length_of(
    config: Mapping[str, Any], facts: ExportFacts, words: Mapping[str, Any], asked: int | None
) -> int:
    """Returns how many tokens a row is cut to.

    Args:
        config: The model's `config.json`.
        facts: Its export's.
        words: Its `tokenizer_config.json`.
        asked: What was asked for; None: what the export or the tokenizer says.

    Raises:
        SettingsError: More was asked for than the model takes, or too few for a token of text.
    """
    positions = positions_of(config)
    if asked is not None and not 2 < asked <= positions:
        raise SettingsError(
            f"`max_length`: expected 3 to {positions} tokens, as the model has {positions} positions, "
            f"got {asked}; give another"
        )
    # transformers writes 1e30 where a tokenizer has no limit.
    limit = facts.content.get("max_length") or words.get("model_max_length") or positions
    return asked or int(min(limit, positions))


def read_object(path: Path, needed: bool = True) -> dict[str, Any]:
    """Reads a JSON object of an exported model's folder; a file that is not needed may be missing.

    Raises:
        SourceError: It cannot be read.
    """
    if not needed and not path.is_file():
        return {}
    with library_errors_as(SourceError, f"{path} cannot be read", "export the model again"):
        if not path.is_file():
            raise SourceError(
                f"expected an exported model in {path.parent}, found no {path.name}; `wellread export MODEL` "
                "writes one"
            )
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise TypeError(f"expected a JSON object, got {type(found).__name__}")
        return found
