"""Rows 13 and 14: matrix products beside torch's, large ones and those where overhead counts."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any

import ionian

from .. import real_gpus
from ..measure import BLOCKS, Ratio, Series, interleave, quantile
from ..result import Effort, Line, line

TORCH = "torch"
_LARGE = "square products"
#: m, n, k of one layer's products while a model of 7 or 13 billion weights generates or reads text.
_RAGGED = (
    (1, 4096, 4096), (4, 11008, 4096), (17, 4096, 11008), (33, 12288, 4096),
    (100, 5120, 13824), (333, 13824, 5120), (777, 4096, 4096), (2047, 11008, 4096),
)  # fmt: skip


def _operands(dtype: str, m: int, n: int, k: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Returns ours and torch's call of the same product, each into an array that is there."""
    import torch

    torch.manual_seed(0)
    if dtype == "float8_e4m3fn":
        a = torch.randn(m, k, device="cuda").to(torch.float8_e4m3fn)
        b = torch.randn(n, k, device="cuda").to(torch.float8_e4m3fn).T
        out = torch.empty(m, n, device="cuda", dtype=torch.bfloat16)
        one = torch.ones((), device="cuda")
        ours = functools.partial(ionian.blas.matmul, a, b, out=out, scale_a=one, scale_b=one)
        theirs = functools.partial(
            torch._scaled_mm, a, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, out=out
        )
        return ours, theirs
    kind = torch.float32 if dtype == "tf32" else getattr(torch, dtype)
    torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    a = torch.randn(m, k, device="cuda", dtype=kind)
    b = torch.randn(n, k, device="cuda", dtype=kind).T  # as a layer's weights lie
    out = torch.empty(m, n, device="cuda", dtype=kind)
    precision = "tf32" if dtype == "tf32" else None
    return (
        functools.partial(ionian.blas.matmul, a, b, out=out, precision=precision),
        functools.partial(torch.matmul, a, b, out=out),
    )


def _sampler(call: Callable[[], Any], repeats: int) -> Callable[[], list[float]]:
    """Samples seconds of one product among ``repeats`` that follow each other closely."""
    import torch

    def sample() -> list[float]:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(repeats):
            call()
        torch.cuda.synchronize()
        return [(time.perf_counter() - begin) / repeats]

    return sample


def _overhead(call: Callable[[], Any], repeats: int = 200) -> Callable[[], list[float]]:
    """Samples seconds until a call returns, its product enqueued."""
    import torch

    def sample() -> list[float]:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(repeats):
            call()
        seconds = time.perf_counter() - begin
        torch.cuda.synchronize()
        return [seconds / repeats]

    return sample


def _series(dtype: str, m: int, n: int, k: int, seconds: float) -> Series:
    ours, theirs = _operands(dtype, m, n, k)
    for _ in range(12):  # ten calls have it measured
        ours()
        theirs()
    ionian.blas.finish_tuning()
    once = _sampler(ours, 10)()[0]
    repeats = max(5, min(1000, int(seconds / once)))
    return interleave(_sampler(ours, repeats), {TORCH: _sampler(theirs, repeats)})


def _rate(series: Series, name: str, operations: float) -> float:
    return operations / quantile(series.all(name), 0.5) / 1e12


def large(effort: Effort, pinning: str) -> list[Line]:
    reason = real_gpus.why_not()
    if reason:
        return [Line(13, _LARGE, skipped=reason)]
    name = ionian.inventory().devices[0].name
    lines = []
    for dtype, goal in (
        ("bfloat16", 0.99),
        ("float16", 0.99),
        ("tf32", 0.99),
        ("float8_e4m3fn", 1.05),
    ):
        for n in (4096, 8192) if effort.quick else (4096, 8192, 16384):
            series = _series(dtype, n, n, n, effort.pick(100, 30) / 1000)
            each = line(13, f"matmul {dtype}, n = {n}", series, TORCH, goal=f"≥ {goal:g} ×")
            operations = 2.0 * n**3
            each.note = (
                f"{_rate(series, '', operations):.0f} TFLOP/s, torch {_rate(series, TORCH, operations):.0f}; "
                f"{name}"
            )
            assert each.ratio is not None
            each.reached = each.ratio.median >= goal
            lines.append(each)
    return lines


def _geometric(label: str, all_series: list[Series], name: str) -> Line:
    """Returns one line for many products: the geometric mean of the ratios of each block."""
    by_block = [
        math.exp(
            math.fsum(
                math.log(quantile(s.others[TORCH][block], 0.5) / quantile(s.both()[block], 0.5))
                for s in all_series
            )
            / len(all_series)
        )
        for block in range(BLOCKS)
    ]
    medians = [series.ratio(TORCH).median for series in all_series]
    each = Line(14, label, peer=TORCH, goal="≥ 1.3 ×, none < 0.98 ×")
    each.ratio = Ratio(quantile(by_block, 0.5), min(by_block), max(by_block))
    each.reached = each.ratio.median >= 1.3 and min(medians) >= 0.98
    each.control = quantile([series.control() for series in all_series], 0.5)
    shown = ", ".join(f"{median:.2f}" for median in medians)
    each.note = f"geometric mean of {len(medians)} products: {shown}; {name}"
    return each


def small(effort: Effort, pinning: str) -> list[Line]:
    reason = real_gpus.why_not()
    if reason:
        return [Line(14, "small and ragged products", skipped=reason)]
    name = ionian.inventory().devices[0].name
    seconds = effort.pick(40, 10) / 1000
    squares = [
        _series(dtype, n, n, n, seconds)
        for dtype in ("bfloat16", "float8_e4m3fn")
        for n in (256, 512, 768, 1024)
    ]
    ragged = [_series("bfloat16", m, n, k, seconds) for m, n, k in _RAGGED]
    ours, theirs = _operands("bfloat16", 256, 256, 256)
    for _ in range(12):
        ours()
    ionian.blas.finish_tuning()
    series = interleave(_overhead(ours), {TORCH: _overhead(theirs)})
    overhead = line(
        14, "matmul, n = 256: time until the call returns", series, TORCH, goal="≤ 0.6 × the time",
        note=name,
    )  # fmt: skip
    assert overhead.ratio is not None
    overhead.reached = overhead.ratio.median >= 1 / 0.6
    return [
        _geometric("matmul bfloat16 and float8, n = 256, 512, 768, 1024", squares, name),
        _geometric("matmul bfloat16, shapes of language models", ragged, name),
        overhead,
    ]
