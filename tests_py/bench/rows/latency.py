"""Rows 1, 2, 3: what a warm call costs, back to back and every 5 ms."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from .. import floors, workload
from ..measure import Sampler, cpu_ticks, interleave, pin, quantile, timed, two_cores, wakeups
from ..result import Effort, Line, line

SPREAD, ONE_CORE = "spread", "one core"
PEER = "PPE"
_PAUSE = 0.005


@contextmanager
def both_warm(pinning: str) -> Iterator[tuple[ProcessPoolExecutor, list[floors.Echo]]]:
    """Opens ours and the peer with one warm worker each, bound as ``pinning`` says."""
    cores = two_cores()
    assert cores is not None
    if pinning == ONE_CORE:
        os.sched_setaffinity(0, {cores[0]})  # before anything starts: all of it inherits this
    echoes: list[floors.Echo] = [floors.PipeEcho(), floors.FutexEcho()]
    with ProcessPoolExecutor(1) as peer:
        their_pid = peer.submit(workload.noop, True).result()  # forked before ours has threads
        with workload.app.run():
            our_pid = workload.remote_noop.remote(True)
            if pinning == SPREAD:
                pin(os.getpid(), {cores[0]})
                for pid in (our_pid, their_pid, *(echo.pid for echo in echoes)):
                    pin(pid, {cores[1]})
            try:
                yield peer, echoes
            finally:
                for echo in echoes:
                    echo.close()


def _nobody_to_spread_over(row: int, what: str, pinning: str) -> list[Line]:
    if two_cores() is None:
        return [Line(row, what, pinning, skipped="this machine has one core")]
    return []


def run(effort: Effort, pinning: str) -> list[Line]:
    """Rows 1 and 2."""
    if skipped := _nobody_to_spread_over(1, "warm .remote() of a no-op", pinning):
        return skipped
    calls, peer_calls = effort.pick(5000, 1000), effort.pick(400, 80)
    with both_warm(pinning) as (peer, echoes):
        ours = workload.remote_noop.remote
        submit, noop = peer.submit, workload.noop
        pipe, futex = echoes
        others: dict[str, Sampler] = {
            PEER: lambda: timed(lambda: submit(noop).result(), peer_calls),
            "pipe": lambda: timed(pipe, peer_calls),
            "futex": lambda: timed(futex, peer_calls),
        }
        series = interleave(lambda: timed(ours, calls), others)
    pickling = floors.pickling()
    wake = min(quantile(series.all(name), 0.5) for name in ("pipe", "futex"))
    spread = pinning == SPREAD
    floor = pickling if spread else pickling + wake
    name = "pickle alone; a spinning peer needs no wake-up" if spread else "pickle + futex"
    p50 = line(
        1, "warm .remote() of a no-op, p50", series, PEER, pinning=pinning, floor=floor, floor_name=name,
        note=f"a wake-up and back costs {wake * 1e6:.1f} µs here",
    )  # fmt: skip
    p99 = line(
        2, "the same, p99", series, PEER, q=0.99, pinning=pinning, floor=floor, floor_name=name
    )
    assert p50.ratio is not None and p99.ratio is not None
    bound = 50 if spread else 12
    p50.goal, p50.reached = f"≥ {bound} ×", p50.ratio.median >= bound
    p50.least, p50.least_reached = "≥ 10 ×", p50.ratio.median >= 10
    p99.goal, p99.reached = "≥ 40 ×", p99.ratio.median >= 40
    return [p50, p99]


def run_paced(effort: Effort, pinning: str) -> list[Line]:
    """Row 3, and what idle workers cost."""
    if skipped := _nobody_to_spread_over(3, "a call every 5 ms", pinning):
        return skipped
    calls, other_calls = effort.pick(120, 12), effort.pick(60, 6)
    with both_warm(pinning) as (peer, echoes):
        ours = workload.remote_noop.remote
        submit, noop = peer.submit, workload.noop
        pipe, futex = echoes
        others: dict[str, Sampler] = {
            PEER: lambda: timed(lambda: submit(noop).result(), other_calls, _PAUSE),
            "pipe": lambda: timed(pipe, other_calls, _PAUSE),
            "futex": lambda: timed(futex, other_calls, _PAUSE),
        }
        series = interleave(lambda: timed(ours, calls, _PAUSE), others)
        idle = _idle(workload.remote_noop.remote(True), pinning) if pinning == SPREAD else []
    name = min(("pipe", "futex"), key=lambda each: quantile(series.all(each), 0.5))
    over = 1 / series.ratio(name).median
    paced = line(
        3, "a call every 5 ms", series, PEER, pinning=pinning,
        floor=quantile(series.all(name), 0.5), floor_name=f"{name} round trip every 5 ms",
        goal="≤ 1.25 × floor", reached=over <= 1.25, note=f"ours is {over:.2f} × the floor",
    )  # fmt: skip
    return [paced, *idle]


def _idle(worker: int, pinning: str) -> list[Line]:
    """Watches a worker, and the caller, while nobody calls."""
    time.sleep(0.2)  # whatever spins has stopped
    caller = os.getpid()
    before = [cpu_ticks(worker), cpu_ticks(caller), wakeups(worker), wakeups(caller)]
    seconds = 2.0
    time.sleep(seconds)
    after = [cpu_ticks(worker), cpu_ticks(caller), wakeups(worker), wakeups(caller)]
    worker_ticks, caller_ticks, worker_wakeups, caller_wakeups = (
        b - a for a, b in zip(before, after, strict=True)
    )
    return [
        Line(
            3,
            "an idle worker's processor time",
            pinning,
            ours=(worker_ticks / 100 / seconds, worker_ticks / 100 / seconds),
            goal="0 ticks",
            reached=worker_ticks == 0,
            note=f"in {seconds:g} s: worker {worker_ticks} ticks, {worker_wakeups} wake-ups; "
            f"caller {caller_ticks} ticks, {caller_wakeups} wake-ups",
        )
    ]
