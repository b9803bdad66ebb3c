"""One line of the table, as data."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from .measure import CONTROL, Ratio, Series, quantile


@dataclass
class Line:
    """A figure beside its peer. Times in seconds, rates per second; None where there is none."""

    row: int
    what: str
    pinning: str = ""
    unit: str = "s"  # "s" | "/s"
    ours: tuple[float, float] | None = None  # p50, p99
    peer: str = ""
    theirs: tuple[float, float] | None = None
    ratio: Ratio | None = None
    floor: float | None = None
    floor_name: str = ""
    goal: str = ""
    reached: bool | None = None
    least: str = ""  # the smaller goal that must be reached in any case
    least_reached: bool | None = None
    control: float | None = None
    note: str = ""
    skipped: str = ""  # why nothing was measured

    @property
    def restless(self) -> bool:
        """Returns whether ours against ours says that the figures mean nothing."""
        return self.control is not None and not CONTROL[0] <= self.control <= CONTROL[1]


def line(row: int, what: str, series: Series, peer: str, *, q: float = 0.5, **more: Any) -> Line:
    """Returns the line of ours against ``peer``; ``q``: the quantile whose ratio counts."""
    ours, theirs = series.all(), series.all(peer)
    # The bad end of a rate is its low one.
    tail = 0.01 if series.higher_is_better else 0.99
    return Line(
        row,
        what,
        unit="/s" if series.higher_is_better else "s",
        ours=(quantile(ours, 0.5), quantile(ours, tail)),
        peer=peer,
        theirs=(quantile(theirs, 0.5), quantile(theirs, tail)),
        ratio=series.ratio(peer, q),
        control=series.control(),
        **more,
    )


@dataclass
class Effort:
    """How much to measure: ``pick(full, quick)``."""

    quick: bool
    began: float = field(default_factory=time.monotonic)

    def pick(self, full: int, quick: int) -> int:
        return quick if self.quick else full
