"""Figures that Google's release and the paper published: theirs, shown beside ours, never as ours.

Source: Turc et al. 2019 (arXiv 1908.08962v2) and the release's README in `google-research/bert`. What is not
here was not published.
"""

from wellread_hf.students import Student
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS

GLUE_TITLES = {task: GLUE_SETS[task].title for task in GLUE_TASKS}

# The release's README; fine-tuned, not distilled; MRPC and QQP F1/accuracy, STS-B Pearson/Spearman.
TEST_COLUMNS = (
    "Score", "CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI-m", "MNLI-mm", "QNLI", "RTE", "WNLI", "AX",
)  # fmt: skip
GLUE_TEST: dict[Student, tuple[str, ...]] = {
    Student.parse(name): tuple(row.split())
    for name, row in {
        "tiny": "64.2 0.0 83.2 81.1/71.1 74.3/73.6 62.2/83.4 70.2 70.3 81.5 57.2 62.3 21.0",
        "mini": "65.8 0.0 85.9 81.1/71.8 75.4/73.3 66.4/86.2 74.8 74.3 84.1 57.9 62.3 26.1",
        "small": "71.2 27.8 89.7 83.4/76.2 78.8/77.0 68.1/87.0 77.6 77.0 86.4 61.8 62.3 28.6",
        "medium": "73.5 38.0 89.6 86.6/81.6 80.4/78.4 69.6/87.9 80.0 79.1 87.7 62.2 62.3 30.5",
    }.items()
}

# Table 1b: speed-up over BERT-Large on a TPU v2.
SPEEDUP: dict[Student, str] = {
    Student(2, 128): "65.24",
    Student(4, 256): "15.96",
    Student(4, 512): "7.27",
    Student(8, 512): "3.64",
    Student(12, 768): "1.25",
    Student(6, 768): "2.50",
    Student(12, 128): "11.02",
}

# Table 3, test: methods on SST-2, MRPC, QQP, MNLI-m/mm, QNLI, RTE, and their mean ("Meta").
TABLE_3_COLUMNS = ("SST-2", "MRPC", "QQP", "MNLI-m/mm", "QNLI", "RTE", "Meta")
# Both of MNLI's sets are in one cell.
_TABLE_3_CELLS = {"mnli": ("MNLI-m/mm", 0), "mnli_mismatched": ("MNLI-m/mm", 1)}
TABLE_3_TEST: dict[Student, dict[str, tuple[str, ...]]] = {
    Student(6, 768): {
        "PF": ("92.5", "86.8/81.8", "70.1/88.5", "81.8/81.1", "87.9", "64.2", "81.6"),
        "PD": ("91.8", "86.8/81.7", "70.4/88.9", "82.8/82.2", "88.9", "65.3", "82.1"),
    }
}

# SST-2 in the paper's analysis, teacher BERT-Large; read off a figure, error about 0.1 point.
SST2_FIGURE: dict[Student, dict[str, str]] = {
    Student.parse("tiny"): {"PD": "85.5", "PF": "83.1", "Distillation": "83.2", "Basic": "81.7"},
    Student.parse("mini"): {"PD": "91.9", "PF": "85.9", "Distillation": "83.3", "Basic": "81.8"},
    Student.parse("medium"): {"PD": "92.5", "PF": "89.6", "Distillation": "84.3", "Basic": "81.1"},
}


def release_test(student: Student, name: str, metric: str) -> float | None:
    """Returns the release's test figure of one of GLUE's sets in percent; None where none was published."""
    row = GLUE_TEST.get(student)
    if row is None or name not in GLUE_SETS:
        return None
    cell = row[TEST_COLUMNS.index(GLUE_SETS[name].title)].split("/")
    known = GLUE_SETS[name].metrics
    return float(cell[known.index(metric)]) if metric in known else None


def published_test(method: str, name: str) -> dict[Student, float]:
    """Returns the published test figures of a set's first metric in percent, by student.

    Args:
        method: `pf`: the release's and Table 3's; `pd`: Table 3's; for others there are none.
        name: Name among `GLUE_SETS`.
    """
    release = ((student, release_test(student, name, GLUE_SETS[name].metrics[0])) for student in GLUE_TEST)
    found = {student: figure for student, figure in release if figure is not None and method == "pf"}
    column, place = _TABLE_3_CELLS.get(name, (GLUE_SETS[name].title, 0))
    if column in TABLE_3_COLUMNS:
        for student, methods in TABLE_3_TEST.items():
            if method.upper() in methods:
                cell = methods[method.upper()][TABLE_3_COLUMNS.index(column)]
                found[student] = float(cell.split("/")[place])
    return found
