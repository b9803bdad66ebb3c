"""Rows 15 and 16: all-reduces between two GPUs beside NCCL itself and torch.distributed."""

from __future__ import annotations

import ionian

from .. import real_gpus
from ..measure import Series, quantile
from ..result import Effort, Line, line


def _series(sampled: object) -> Series:
    ours, again, others = sampled  # type: ignore[misc]
    return Series(ours=ours, again=again, others=others)


def run(effort: Effort, pinning: str) -> list[Line]:
    reason = real_gpus.why_not()
    if reason:
        return [Line(15, "all-reduce", skipped=reason), Line(16, "all-reduce", skipped=reason)]
    what = real_gpus.two()
    split = what.startswith("SPLIT")
    from .. import workload_ranks as workload

    lines = []
    with workload.app.run():
        size = (64 << 20) if split else (1 << 30)
        series = _series(workload.compare.remote(size, effort.pick(10, 3)))
        bus = size / 1e9 / quantile(series.all(), 0.5)
        copy = workload.copy_rate.remote(1 << 28)
        floor = f"; a copy from GPU to GPU {copy:.0f} GB/s" if copy else ""
        for peer, goal in ((workload.RAW, 0.99), (workload.TORCH, 0.99)):
            each = line(
                15, f"all-reduce {size >> 20} MiB", series, peer, goal=f"≥ {goal:g} ×",
                note=f"{bus:.0f} GB/s of bus bandwidth{floor}; {what}",
            )  # fmt: skip
            assert each.ratio is not None
            each.reached = each.ratio.median >= goal
            lines.append(each)
        for bytes_ in (8, 1 << 10, 64 << 10):
            series = _series(workload.compare.remote(bytes_, effort.pick(500, 100)))
            each = line(
                16, f"all-reduce {bytes_} B", series, workload.TORCH, goal="≤ 0.3 × the time",
                floor=quantile(series.all(workload.RAW), 0.5), floor_name=workload.RAW, note=what,
            )  # fmt: skip
            assert each.ratio is not None
            each.reached = each.ratio.median >= 1 / 0.3
            lines.append(each)
    return lines


def alone(effort: Effort, pinning: str) -> list[Line]:
    """What a call costs the host, with one rank: no peer to wait for."""
    reason = real_gpus.why_not()
    if reason:
        return [Line(16, "all-reduce of one rank", skipped=reason)]
    from .. import workload_ranks as workload

    with workload.app.run():
        series = _series(workload.alone.remote(1024, 200))
    each = line(
        16, "all-reduce of one rank, 1 KiB: until the call returns", series, workload.TORCH,
        floor=quantile(series.all(workload.RAW), 0.5), floor_name=workload.RAW,
        goal="≤ 0.3 × the time", note=ionian.inventory().devices[0].name,
    )  # fmt: skip
    assert each.ratio is not None
    each.reached = each.ratio.median >= 1 / 0.3
    return [each]
