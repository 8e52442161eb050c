"""What students cost: sums by hand, and what is not known is said."""

import json

import pytest

from wellread_hf.results.training_costs import Rates, cost_of, cost_table, operations_per_token
from wellread_hf.settings import Pretrain
from wellread_hf.students import STUDENTS, Student
from wellread_hf.training.operations import masked_lm_products, operations

TINY, MINI = Student(2, 128), Student(4, 256)
HERE = Rates(device="a CPU, 2 cores", tokens_per_second={TINY.name: 20_000.0}, timed=frozenset([TINY.name]))


def test_a_cost_is_what_a_pencil_says() -> None:
    cost = cost_of(TINY, 72_000_000, Pretrain(), [HERE])
    assert cost.seconds == {HERE.device: pytest.approx(3_600)}
    step = operations(masked_lm_products(TINY.shape))
    assert cost.operations == pytest.approx(72_000_000 / 128 * step)
    assert cost.bytes == 4 * TINY.parameters()
    # Weights and two moments, in two checkpoints and one that is being written.
    assert cost.checkpoint_bytes == 9 * cost.bytes


def test_other_blocks_take_time_by_their_operations() -> None:
    longer = Pretrain(block_lengths=(512,))
    more = operations_per_token(TINY, longer) / operations_per_token(TINY, Pretrain())
    assert more > 1
    assert cost_of(TINY, 10**6, longer, [HERE]).seconds[HERE.device] == pytest.approx(50 * more)


def test_phases_count_by_their_tokens() -> None:
    phases = Pretrain(block_lengths=(128, 512), phase_shares=(0.8, 0.2))
    short, long = (operations_per_token(TINY, Pretrain(block_lengths=(length,))) for length in (128, 512))
    # Four steps of 128 a block and one of 512 are tokens in equal number.
    assert operations_per_token(TINY, phases) == pytest.approx((short + long) / 2)


def test_an_unknown_rate_is_a_question_mark_and_so_is_its_sum() -> None:
    costs = [cost_of(student, 10**6, Pretrain(), [HERE]) for student in (TINY, MINI)]
    table = cost_table(costs, [HERE])
    column = list(table.head).index(f"hours, {HERE.device}")
    assert [row[column] for row in table.rows] == ["0.01", "?", "?"]
    assert table.notes == ["a CPU, 2 cores: timed: bert-2-128; other sizes follow from these"]


def test_a_gpus_file_gives_each_students_fastest_way_of_ours(tmp_path) -> None:
    rows = [
        {"student": "bert-2-128", "way": way, "tokens/s": [rate - 1, rate, rate + 5]}
        for way, rate in (("stock", 9e9), ("ours", 1e6), ("ours, CUDA graph", 3e6))
    ]
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps({"device": "NVIDIA H100", "rows": rows}))
    rates = Rates.of_gpu(path)
    assert rates is not None
    assert (rates.device, rates.tokens_per_second) == ("NVIDIA H100", {"bert-2-128": 3e6})
    assert Rates.of_gpu(tmp_path / "none.json") is None
    # A trial run without a GPU says nothing of one.
    path.write_text(json.dumps({"device": "CPU", "rows": rows}))
    assert Rates.of_gpu(path) is None


def test_all_24_cost_more_the_larger_they_are() -> None:
    costs = [
        operations_per_token(student, Pretrain()) for student in sorted(STUDENTS, key=Student.parameters)
    ]
    assert costs[0] == min(costs)
    assert costs[-1] == max(costs)
