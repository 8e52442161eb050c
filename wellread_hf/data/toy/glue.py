"""A folder in the layout of `nyu-mll/glue` made of the toy world's sentences, to try the whole path on.

All tasks are there, each with a few rows; what they teach is whether two sentences share a verdict.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS, TaskFacts

# Enough for two evaluations of a smoke test.
_ROWS = {"train": 48, "dev": 16, "test": 16}


def write_toy_glue(folder: Path, task: Path) -> dict[str, object]:
    """Writes the configurations, a Parquet file a split, and the README that names them.

    Args:
        folder: Receives them.
        task: The toy world's task: `train.jsonl`, `validation.jsonl`, `test.jsonl`.

    Returns:
        Rows by configuration and split.
    """
    import yaml

    splits: dict[str, dict[str, str]] = {name: {"train": "train"} for name in GLUE_TASKS}
    for rows in GLUE_SETS.values():
        of = splits.setdefault(rows.config, {})
        of |= {rows.test: "test"} | ({} if rows.dev is None else {rows.dev: "dev"})
    sources = {"train": "train", "dev": "validation", "test": "test"}
    pairs = {
        kind: [json.loads(line) for line in (task / f"{source}.jsonl").read_text().splitlines()]
        for kind, source in sources.items()
    }
    for config, kinds in splits.items():
        # AX is no task: it has MNLI's columns and classes, and is predicted by its model.
        facts = GLUE_TASKS.get(config, GLUE_TASKS["mnli"])
        (folder / config).mkdir(parents=True, exist_ok=True)
        for split, kind in kinds.items():
            _write(folder / config / f"{split}-00000-of-00001.parquet", facts, pairs[kind], kind)
    # As the repository on the Hub has it, so that both are read in one way.
    configs = [
        {
            "config_name": config,
            "data_files": [{"split": split, "path": f"{config}/{split}-*"} for split in kinds],
        }
        for config, kinds in splits.items()
    ]
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n")
    return {
        "rows": {config: {split: _ROWS[kind] for split, kind in of.items()} for config, of in splits.items()}
    }


def _write(path: Path, facts: TaskFacts, rows: Sequence[dict[str, object]], kind: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table: dict[str, list[object]] = {name: [] for name in (*facts.columns, "label", "idx")}
    for number in range(_ROWS[kind]):
        # Neighbours make pairs; which ones share a verdict is chance.
        chosen = [rows[(number + step) % len(rows)] for step in range(len(facts.columns))]
        for column, row in zip(facts.columns, chosen, strict=True):
            table[column].append(row["sentence"])
        # Withheld, as on the Hub.
        table["label"].append(-1 if kind == "test" else _label(chosen, facts))
        table["idx"].append(number)
    # The types of the repository on the Hub, so that they are tried as well.
    types = {"label": pa.int64() if facts.labels else pa.float32(), "idx": pa.int32()}
    pq.write_table(
        pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in table.items()}),
        path,
    )


def _label(rows: Sequence[dict[str, object]], facts: TaskFacts) -> float:
    verdicts = [int(str(row["label"])) for row in rows]
    shared = verdicts[0] == verdicts[-1]
    if not facts.labels:
        return 4.0 + verdicts[0] if shared else 1.0 + verdicts[0]
    if len(verdicts) == 1:
        return verdicts[0]
    return int(not shared) if len(facts.labels) == 2 else 2 * int(not shared) + verdicts[0] * int(shared)
