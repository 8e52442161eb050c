"""Charts of a page: where values lie, and what is written at the axes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellread_hf.results.svg import MARKS, Axis, Chart
from wellread_hf.students import LOOKS

values = st.lists(st.floats(min_value=1e-3, max_value=1e5), min_size=1, max_size=20)


@settings(deadline=None)  # the first call loads matplotlib
@given(values, st.booleans())
def test_every_value_lies_on_its_axis_in_order(values: list[float], logarithmic: bool) -> None:
    axis = Axis.over("x", values, logarithmic=logarithmic)
    shares = [axis.share(value) for value in sorted(values)]
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)
    assert all(0 <= axis.share(tick) <= 1 for tick, _ in axis.ticks)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.22, 3.8], ["0.2", "0.5", "1", "2", "5"]),
        ([0.56, 7.3], ["0.5", "1", "2", "5", "10"]),
        ([0.3, 400], ["1", "10", "100"]),
    ],
)
def test_logarithmic_ticks_are_round_and_few(values: list[float], ticks: list[str]) -> None:
    assert [name for _, name in Axis.over("ms", values, logarithmic=True).ticks] == ticks


def test_higher_is_up_and_more_is_right() -> None:
    axis = Axis.over("%", [0, 100])
    chart = Chart(title="", text="", x=axis, y=axis, series=[])
    assert float(chart.down(90)) < float(chart.down(10))
    assert float(chart.across(90)) > float(chart.across(10))
    # An error bar that reaches beyond the axis ends there.
    assert float(chart.down(1e6)) == chart.top


def test_every_method_has_its_mark() -> None:
    assert {look.mark for look in LOOKS.values()} <= MARKS.keys()
