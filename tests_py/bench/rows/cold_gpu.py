"""Row 9: from a call that finds no worker to its first matrix product on the GPU. Real GPUs only."""

from __future__ import annotations

import subprocess
import sys
import time

import ionian

from .. import real_gpus
from ..measure import Sampler, interleave, quantile, wait_until
from ..result import Effort, Line, line

PEER = 'python -c "import torch; …"'
_WHAT = "cold GPU worker to its first torch matmul"
#: Prints what creating a CUDA context costs in a process that loads nothing but the driver.
_CONTEXT = """
import ctypes, time
cuda = ctypes.CDLL("libcuda.so.1")
begin = time.perf_counter()
device, context = ctypes.c_int(), ctypes.c_void_p()
assert cuda.cuInit(0) == 0
assert cuda.cuDeviceGet(ctypes.byref(device), 0) == 0
assert cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device) == 0
print(time.perf_counter() - begin)
"""


def _output_of(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


def run(effort: Effort, pinning: str) -> list[Line]:
    reason = real_gpus.why_not()
    if reason:
        return [Line(9, _WHAT, skipped=reason)]
    from .. import workload_torch as workload

    def ours() -> list[float]:
        pool = workload.remote_matmul.pool()
        wait_until(lambda: pool.workers == 0, "the last worker was gone")
        begin = time.perf_counter()
        assert workload.remote_matmul.remote() == 1024
        return [time.perf_counter() - begin]

    def fresh() -> list[float]:
        begin = time.perf_counter()
        assert float(_output_of(workload.FRESH)) == 1024
        return [time.perf_counter() - begin]

    others: dict[str, Sampler] = {PEER: fresh, "context": lambda: [float(_output_of(_CONTEXT))]}
    with workload.app.run():
        workload.remote_matmul.remote()
        series = interleave(ours, others)
    each = line(
        9, _WHAT, series, PEER, floor=quantile(series.all("context"), 0.5),
        floor_name="cuInit + primary context", goal="≥ 10 ×", least="≥ 8 ×",
        note=ionian.inventory().devices[0].name,
    )  # fmt: skip
    assert each.ratio is not None
    each.reached, each.least_reached = each.ratio.median >= 10, each.ratio.median >= 8
    return [each]
