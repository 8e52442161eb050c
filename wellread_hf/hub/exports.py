"""The ONNX files that go to the Hub with a model: those of its own weights, whole, and nothing else."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wellread_hf.errors import PublishError, library_errors_as
from wellread_hf.hub.files import LocalFile
from wellread_hf.results.lineage import MODELS, Stages
from wellread_hf.serving.export_facts import EXPORT, FILES, FP32, INT8, ExportFacts
from wellread_hf.store.records import StageRecord

# Where servers that cannot choose a file find int8: text-embeddings-inference takes `onnx/model.onnx`.
INT8_BRANCH = "int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A finished export: its folder, and what `onnx/export.json` says."""

    folder: Path
    task: str  # on whose rows it was judged
    facts: ExportFacts

    @classmethod
    def read(cls, folder: Path) -> "Export":
        """Reads an export's folder.

        Raises:
            PublishError: It cannot be read.
            StoreError: It is not finished, or a file was changed since.
        """
        record = StageRecord.read(folder)
        record.check_outputs(folder)
        with library_errors_as(
            PublishError, f"{folder / EXPORT} cannot be read", "run wellread export again"
        ):
            facts = ExportFacts.read(folder)
            if not isinstance(facts.graph("fp32")["sha256"], str):
                raise TypeError(f"files.{FP32}.sha256 is no text")
            return cls(folder=folder, task=str(record.settings["task"]["name"]), facts=facts)

    @property
    def int8_refused(self) -> str | None:
        """Why there is no int8 file; None where there is one."""
        if self.facts.graph("int8"):
            return None
        return self.facts.refused("int8") or "the export has none"

    def files(self, weights: LocalFile) -> dict[str, Path]:
        """Returns the files to upload by their path in the repository.

        Args:
            weights: The `model.safetensors` that they go with.

        Raises:
            PublishError: They were exported from other weights, or are not what the export wrote; or
                there is something else in the folder.
        """
        of = self.facts.weights_sha256
        if of != weights.sha256:
            raise PublishError(
                f"{self.folder} was exported from other weights ({str(of)[:12]}) than {weights.content!s} "
                f"({weights.sha256[:12]}); run wellread export again, or remove the old export"
            )
        graphs = [file for file in ("fp32", "int8") if self.facts.graph(file)]
        found = {path: self.folder / path for path in (*(FILES[file] for file in graphs), EXPORT)}
        for path in sorted((self.folder / "onnx").iterdir()):
            if f"onnx/{path.name}" not in found or path.is_symlink() or not path.is_file():
                raise PublishError(
                    f"{path} is not among the files of an export that are uploaded ({', '.join(found)}, no "
                    "links); move it out of the folder"
                )
        for file in graphs:
            graph = found[FILES[file]]
            if LocalFile(graph.name, graph).sha256 != self.facts.graph(file)["sha256"]:
                raise PublishError(f"{graph} is not what {EXPORT} describes; run wellread export again")
        return found

    def config(self, config: Mapping[str, Any]) -> dict[str, bytes]:
        """Returns the model's `config.json` with the calibration that its graphs have; else nothing."""
        with library_errors_as(PublishError, f"{self.folder}: config.json cannot be read"):
            found = json.loads((self.folder / "config.json").read_text(encoding="utf-8")).get("calibration")
        if found is None:
            return {}
        text = json.dumps({**config, "calibration": found}, indent=2, sort_keys=True) + "\n"
        return {"config.json": text.encode()}

    def int8_files(self) -> dict[str, Path | bytes]:
        """Returns what the branch `int8` has instead: int8 under the first name, and its facts."""
        int8 = self.facts.graph("int8")
        facts = {**self.facts.content, "files": {FP32: int8, INT8: int8}}
        return {
            FILES["fp32"]: self.folder / FILES["int8"],
            EXPORT: (json.dumps(facts, indent=2) + "\n").encode(),
        }


def with_export(folder: Path) -> tuple[Path, StageRecord, Export | None]:
    """Returns the folder and record of a run, with its newest export; of an export, of the run it is of.

    Both lie in one folder of runs.

    Raises:
        PublishError: The run of an export is not there, or what an export says cannot be read.
        StoreError: A stage is not finished, or was changed since.
    """
    record = StageRecord.read(folder)
    stages = Stages.read(folder.absolute().parent)
    if record.kind == "export":
        model = stages.producer(record.settings["model"])
        if model is None or model.kind not in MODELS:
            raise PublishError(
                f"{folder} is an export, and the run that it is of is not beside it; publish that run, with "
                "its export in the same folder of runs"
            )
        return stages.folders[model.digest], model, Export.read(folder)
    export = stages.export(record)
    return folder, record, None if export is None else Export.read(export)
