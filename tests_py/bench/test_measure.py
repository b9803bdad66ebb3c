"""The arithmetic of the bench, on samples whose figures can be seen by eye."""

from __future__ import annotations

import pytest

from .measure import Series, interleave, quantile
from .report import time_text
from .result import line


@pytest.mark.parametrize(
    ("samples", "q", "expected"),
    [
        ([3.0], 0.5, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        (range(1, 101), 0.99, 99),
        (range(1, 101), 0.01, 1),
        (range(1, 11), 0.99, 10),
    ],
)
def test_a_quantile_is_a_sample_that_was_taken(
    samples: list[float], q: float, expected: float
) -> None:
    assert quantile(samples, q) == expected


def test_ratios_are_taken_within_a_block_so_drift_does_not_count() -> None:
    series = Series(
        ours=[[1.0], [100.0]], again=[[1.0], [100.0]], others={"peer": [[2.0], [400.0]]}
    )
    ratio = series.ratio("peer")
    assert (ratio.low, ratio.median, ratio.high) == (2.0, 3.0, 4.0)


def test_a_rate_that_is_higher_gives_a_ratio_above_one() -> None:
    series = Series(higher_is_better=True, ours=[[30.0]], again=[[30.0]], others={"peer": [[10.0]]})
    assert series.ratio("peer").median == 3.0


@pytest.mark.parametrize(
    ("again", "restless"), [(1.0, False), (1.05, False), (1.2, True), (0.8, True)]
)
def test_ours_against_ours_tells_whether_the_machine_was_restless(
    again: float, restless: bool
) -> None:
    series = Series(ours=[[1.0]] * 9, again=[[again]] * 9, others={"peer": [[1.0]] * 9})
    assert line(1, "a call", series, "peer").restless is restless


def test_blocks_take_turns_and_the_first_round_is_thrown_away() -> None:
    order: list[str] = []

    def sampler(name: str) -> list[float]:
        order.append(name)
        return [float(len(order))]

    series = interleave(lambda: sampler("ours"), {"peer": lambda: sampler("peer")}, blocks=2)
    assert order == ["ours", "peer"] + ["peer", "ours"] * 4
    assert series.others == {"peer": [[3.0, 5.0], [7.0, 9.0]]}
    assert series.ours == [[4.0], [8.0]]
    assert series.again == [[6.0], [10.0]]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0"), (4.05e-6, "4.05 µs"), (1.16e-3, "1.16 ms"), (4.7, "4.7 s")]
)
def test_times_are_printed_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert time_text(seconds) == text
