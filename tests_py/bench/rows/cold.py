"""Row 8: from a call that finds no worker to its result, numpy preloaded where that is possible."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

from .. import floors
from .. import workload_numpy as workload
from ..measure import Sampler, interleave, quantile, timed, wait_until
from ..result import Effort, Line, line

SPAWN, FORKSERVER = "PPE spawn", "PPE forkserver"


def _ours() -> float:
    function = workload.remote_small
    pool = function.pool()
    wait_until(lambda: pool.workers == 0, "the last worker was gone")
    begin = time.perf_counter()
    function.remote()
    return time.perf_counter() - begin


def _peer(method: str) -> float:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as peer:
        begin = time.perf_counter()
        peer.submit(workload.small).result()
        return time.perf_counter() - begin


def run(effort: Effort, pinning: str) -> list[Line]:
    multiprocessing.get_context("forkserver").set_forkserver_preload([workload.__name__])
    calls = effort.pick(20, 5)
    with workload.app.run():
        workload.remote_small.remote()  # the launcher has imported numpy by now
        others: dict[str, Sampler] = {
            SPAWN: lambda: [_peer("spawn") for _ in range(effort.pick(2, 1))],
            FORKSERVER: lambda: [_peer("forkserver") for _ in range(effort.pick(4, 1))],
            "fork": lambda: timed(floors.fork_and_wait, calls),
        }
        series = interleave(lambda: [_ours() for _ in range(calls)], others)
    lines = []
    for peer, bound in ((SPAWN, 50), (FORKSERVER, 10)):
        each = line(
            8, "cold worker to first result, numpy preloaded", series, peer,
            floor=quantile(series.all("fork"), 0.5), floor_name="fork + wait with numpy loaded",
            goal=f"≥ {bound} ×",
        )  # fmt: skip
        assert each.ratio is not None
        each.reached = each.ratio.median >= bound
        if peer == SPAWN:
            each.least, each.least_reached = "≥ 10 ×", each.ratio.median >= 10
        lines.append(each)
    return lines
