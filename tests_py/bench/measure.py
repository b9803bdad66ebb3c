"""The method: ours and its peers take turns, block by block, and ratios are taken within a block.

A shared machine drifts, so a figure is a ratio to what was measured next to it. Each block goes
peer, ours, peer, ours again, so that ours always comes after a peer. The ratio of a block is that of
the quantiles of its samples; the median and the range over the blocks are reported. Ours against ours
again must stay within CONTROL, or the machine was too restless for the figures to mean anything.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

BLOCKS = 9
CONTROL = (0.9, 1.1)
_UNCOUNTED = 3

#: Returns the samples of one turn, of which a block has two: seconds, or units per second.
Sampler = Callable[[], "list[float]"]


def quantile(samples: Iterable[float], q: float) -> float:
    """Returns the sample below which ``q`` of them lie (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


@dataclass(frozen=True)
class Ratio:
    """How many times better ours is: median over the blocks, and their range."""

    median: float
    low: float
    high: float


@dataclass
class Series:
    """Samples by block. ``higher_is_better`` for rates."""

    higher_is_better: bool = False
    ours: list[list[float]] = field(default_factory=list)
    again: list[list[float]] = field(default_factory=list)
    others: dict[str, list[list[float]]] = field(default_factory=dict)

    def both(self) -> list[list[float]]:
        return [first + second for first, second in zip(self.ours, self.again, strict=True)]

    def all(self, name: str = "") -> list[float]:
        """Returns every sample of a peer, or of ours."""
        blocks = self.others[name] if name else self.both()
        return [sample for block in blocks for sample in block]

    def ratio(self, name: str, q: float = 0.5) -> Ratio:
        """Returns peer ÷ ours for times, ours ÷ peer for rates."""
        ratios = []
        for mine, theirs in zip(self.both(), self.others[name], strict=True):
            a, b = quantile(mine, q), quantile(theirs, q)
            ratios.append(a / b if self.higher_is_better else b / a)
        return Ratio(statistics.median(ratios), min(ratios), max(ratios))

    def control(self) -> float:
        """Returns ours ÷ ours again, the median over the blocks."""
        return statistics.median(
            quantile(a, 0.5) / quantile(b, 0.5) for a, b in zip(self.ours, self.again, strict=True)
        )


def interleave(
    ours: Sampler,
    others: dict[str, Sampler],
    *,
    higher_is_better: bool = False,
    blocks: int = BLOCKS,
) -> Series:
    """Runs the blocks. A first round warms everything up and is thrown away."""
    series = Series(higher_is_better, others={name: [] for name in others})
    for sample in (ours, *others.values()):
        sample()
    for _ in range(blocks):
        for name in others:
            series.others[name].append([])
        for mine in (series.ours, series.again):
            for name, sample in others.items():
                series.others[name][-1].extend(sample())
            mine.append(ours())
    return series


def timed(call: Callable[[], object], count: int, pause: float = 0.0) -> list[float]:
    """Returns how long each of ``count`` calls took, ``pause`` seconds after the one before.

    _UNCOUNTED calls come before them: those find the caches as the one whose turn it was left them.
    """
    clock, samples = time.perf_counter, []
    uncounted = min(_UNCOUNTED, count)
    for _ in range(uncounted + count):
        if pause:
            time.sleep(pause)
        begin = clock()
        call()
        samples.append(clock() - begin)
    return samples[uncounted:]


def rate(run: Callable[[], object], count: int) -> list[float]:
    """Returns one sample: how many of ``count`` units were done in a second."""
    begin = time.perf_counter()
    run()
    return [count / (time.perf_counter() - begin)]


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
    """Waits for a condition that comes by itself. Raises TimeoutError naming it."""
    until = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {timeout:g} s in vain until {what}")
        time.sleep(0.0005)


# ---- processors -----------------------------------------------------------------------------------


def two_cores() -> tuple[int, int] | None:
    """Returns two processors that are no hyper-threads of one core, None if there are none."""
    usable = sorted(os.sched_getaffinity(0))
    first = usable[0]
    for other in usable[1:]:
        if other not in _siblings(first):
            return first, other
    return None


def _siblings(cpu: int) -> set[int]:
    try:
        with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as file:
            text = file.read().strip()
    except OSError:
        return {cpu}
    found: set[int] = set()
    for part in text.split(","):
        low, _, high = part.partition("-")
        found.update(range(int(low), int(high or low) + 1))
    return found


def pin(pid: int, cpus: set[int]) -> None:
    """Binds every thread of a process."""
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            os.sched_setaffinity(int(task), cpus)
        except ProcessLookupError:
            pass  # the thread has ended meanwhile


def cpu_ticks(pid: int) -> int:
    """Returns the processor time that a process has used, in ticks of /proc/PID/stat (10 ms)."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def wakeups(pid: int) -> int:
    """Returns how often the threads of a process were scheduled in by their own wish."""
    count = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as file:
            for line in file:
                if line.startswith("voluntary_ctxt_switches"):
                    count += int(line.split()[1])
    return count
