"""The paper's and the release's figures: whole rows, by method, set and student."""

from wellread_hf.results.paper import GLUE_TEST, TEST_COLUMNS, published_test, release_test
from wellread_hf.students import Student
from wellread_hf.tasks import GLUE_TASKS


def test_published_rows_are_whole() -> None:
    assert {len(row) for row in GLUE_TEST.values()} == {len(TEST_COLUMNS)}
    tiny = Student.parse("tiny")
    assert release_test(tiny, "mrpc", "accuracy") == 71.1
    assert release_test(tiny, "stsb", "spearman") == 73.6
    assert release_test(tiny, "cola", "matthews_correlation") == 0.0
    assert release_test(tiny, "sst2", "f1") is None
    assert release_test(Student(6, 128), "sst2", "accuracy") is None
    assert release_test(tiny, "mnli_mismatched", "accuracy") == 70.3
    assert release_test(tiny, "mine", "accuracy") is None
    for task, facts in GLUE_TASKS.items():
        for metric in facts.metrics:
            assert release_test(tiny, task, metric) is not None


def test_published_figures_are_by_method_set_and_student() -> None:
    six = Student(6, 768)
    assert published_test("pf", "mnli_mismatched") == {
        Student(2, 128): 70.3,
        Student(4, 256): 74.3,
        Student(4, 512): 77.0,
        Student(8, 512): 79.1,
        six: 81.1,
    }
    # F1 of MRPC; of MNLI's two sets, the first.
    assert published_test("pd", "mrpc") == {six: 86.8}
    assert published_test("pd", "mnli") == {six: 82.8}
    # Table 3 has neither.
    assert published_test("pd", "cola") == published_test("pd", "stsb") == {}
    assert len(published_test("pf", "cola")) == 4
