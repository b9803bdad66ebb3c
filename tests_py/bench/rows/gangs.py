"""Rows 17 and 18: a call of two ranks, warm and cold, beside torchrun; and a rank that is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

import ionian

from .. import real_gpus
from ..measure import Series, interleave, quantile, timed, wait_until
from ..result import Effort, Line, line
from .killed import Killer

TORCHRUN = "torchrun, whole program"


def _program(text: str, *command: str) -> list[float]:
    """Returns how long a program takes from its start to its end."""
    with tempfile.TemporaryDirectory(prefix="ionian-bench-") as directory:
        path = os.path.join(directory, "program.py")
        with open(path, "w") as file:
            file.write(text)
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", *command, path], check=True, capture_output=True)
        return [time.perf_counter() - begin]


def _skip(rows: tuple[int, ...], reason: str) -> list[Line]:
    return [Line(row, "a call of two ranks", skipped=reason) for row in rows]


def run(effort: Effort, pinning: str) -> list[Line]:
    reason = real_gpus.why_not()
    if reason:
        return _skip((17, 18), reason)
    what = real_gpus.two()
    from .. import workload_ranks as workload

    def torchrun() -> list[float]:
        return _program(
            workload.FOR_TORCHRUN,
            *("torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        )

    blocks = effort.pick(5, 1)  # torchrun takes a quarter of a minute
    cold = interleave(
        lambda: _program(workload.FOR_IONIAN, "ionian", "run"), {TORCHRUN: torchrun}, blocks=blocks
    )
    whole = line(
        18, "`ionian run`, whole program, two ranks and an all-reduce", cold, TORCHRUN,
        goal="≥ 5 ×", note=what,
    )  # fmt: skip
    with workload.app.run():
        pool = workload.reduce_first.pool()
        first: list[float] = []
        for _ in range(1 + blocks):
            wait_until(lambda: pool.workers == 0, "the last ranks were gone")
            begin = time.perf_counter()
            workload.reduce_first.remote()
            first.append(time.perf_counter() - begin)
        del first[0]  # it imported the module
        workload.reduce_once.remote()
        warm_calls = timed(workload.reduce_once.remote, effort.pick(500, 100))
        empty = timed(workload.noop.remote, effort.pick(500, 100))
    theirs = cold.all(TORCHRUN)
    half = len(warm_calls) // 2
    warm = Series(ours=[warm_calls[:half]], again=[warm_calls[half:]], others={TORCHRUN: [theirs]})
    fresh = Series(ours=[first], again=[first], others={TORCHRUN: [theirs]})
    lines = [
        line(
            17, "warm call of two ranks to its first all-reduce done", warm, TORCHRUN,
            floor=quantile(empty, 0.5), floor_name="a warm call of two ranks that does nothing",
            goal="≤ 2 ms, ≥ 500 ×", note=what,
        ),
        line(
            18, "first call of two ranks, the module imported, to its first all-reduce done", fresh,
            TORCHRUN, goal="≥ 5 ×", note=what,
        ),
        whole,
    ]  # fmt: skip
    assert lines[0].ours is not None and lines[0].ratio is not None
    lines[0].reached = lines[0].ours[0] <= 2e-3 and lines[0].ratio.median >= 500
    for each in lines[1:]:
        assert each.ratio is not None
        each.reached = each.ratio.median >= 5
    return lines


def killed(effort: Effort, pinning: str) -> list[Line]:
    """A rank is killed while the other waits in a collective."""
    reason = real_gpus.why_not()
    if reason:
        return _skip((17,), reason)
    what = real_gpus.two()
    from .. import workload_ranks as workload

    errors, again = [], []
    with workload.app.run():
        workload.hang.remote("")
        for _ in range(effort.pick(5, 3)):
            killer = Killer()
            try:
                workload.hang.remote(killer.path)
            except ionian.exception.RankError:
                errors.append(time.perf_counter() - killer.at)
                workload.hang.remote("")
                again.append(time.perf_counter() - killer.at)
            finally:
                killer.close()
    return [
        Line(
            17, "kill -9 of a rank in a collective: error raised", goal="≤ 1 s", note=what,
            ours=(quantile(errors, 0.5), max(errors)), reached=max(errors) <= 1.0,
        ),
        Line(
            17, "the same: both GPUs have done another call", goal="≤ 10 s", note=what,
            ours=(quantile(again, 0.5), max(again)), reached=max(again) <= 10.0,
        ),
    ]  # fmt: skip
