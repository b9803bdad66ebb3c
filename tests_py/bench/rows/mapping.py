"""Row 4: many short calls, one input at a time, one worker."""

from __future__ import annotations

import multiprocessing
from collections import deque
from concurrent.futures import ProcessPoolExecutor

from .. import floors, workload
from ..measure import Sampler, interleave, rate
from ..result import Effort, Line, line

PPE, POOL = "PPE.map", "Pool.imap_unordered"


def run(effort: Effort, pinning: str) -> list[Line]:
    """The peers' rate does not depend on how many calls there are, so the slow one gets fewer."""
    calls = effort.pick(100_000, 12_000)
    ppe_calls, pool_calls = effort.pick(4_000, 500), effort.pick(30_000, 4_000)
    settle = workload.settle
    with ProcessPoolExecutor(1) as ppe, multiprocessing.get_context("fork").Pool(1) as pool:
        ppe.submit(workload.noop).result()
        pool.apply(workload.noop)
        with workload.app.run():
            workload.remote_settle.remote(0)

            def ours() -> list[float]:
                return rate(lambda: deque(workload.remote_settle.map(range(calls)), 0), calls)

            others: dict[str, Sampler] = {
                PPE: lambda: rate(
                    lambda: deque(ppe.map(settle, range(ppe_calls), chunksize=1), 0), ppe_calls
                ),
                POOL: lambda: rate(
                    lambda: deque(pool.imap_unordered(settle, range(pool_calls)), 0), pool_calls
                ),
            }
            series = interleave(ours, others, higher_is_better=True)
    lines = []
    floor = 1 / floors.pickling()
    for peer, bound in ((PPE, 45), (POOL, 6)):
        each = line(
            4, f".map() of {calls:,} no-ops, one worker", series, peer, floor=floor,
            floor_name="pickle alone, in one process", goal=f"≥ {bound} ×",
        )  # fmt: skip
        assert each.ratio is not None
        each.reached = each.ratio.median >= bound
        if peer == PPE:
            each.least, each.least_reached = "≥ 10 ×", each.ratio.median >= 10
        lines.append(each)
    return lines
