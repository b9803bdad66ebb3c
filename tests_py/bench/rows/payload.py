"""Row 6: a large array in, a scalar out."""

from __future__ import annotations

import mmap
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from .. import workload_numpy as workload
from ..measure import Sampler, interleave, quantile, timed
from ..result import Effort, Line, line

PEER = "PPE"


def run(effort: Effort, pinning: str) -> list[Line]:
    array = np.ones(workload.ARRAY_BYTES // 8)
    shared = np.frombuffer(mmap.mmap(-1, array.nbytes))
    calls, peer_calls = effort.pick(15, 6), effort.pick(2, 1)
    with ProcessPoolExecutor(1) as peer:
        peer.submit(workload.small).result()
        with workload.app.run():

            def peers() -> list[float]:
                begin = time.perf_counter()
                for _ in range(peer_calls):
                    peer.submit(workload.ends, array).result()
                return [(time.perf_counter() - begin) / peer_calls]

            others: dict[str, Sampler] = {
                PEER: peers,
                "copy": lambda: timed(lambda: np.copyto(shared, array), calls),
            }
            series = interleave(
                lambda: timed(lambda: workload.remote_ends.remote(array), calls), others
            )
    floor = quantile(series.all("copy"), 0.5)
    each = line(
        6, "100 MB array in, scalar out", series, PEER, floor=floor,
        floor_name="memcpy of 100 MB into warm shared pages", goal="≥ 30 ×",
    )  # fmt: skip
    assert each.ratio is not None
    each.reached = each.ratio.median >= 30
    return [each]
