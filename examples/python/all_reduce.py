"""Adds arrays up across GPUs with ionian's communicator, and says how fast.

    ionian run examples/python/all_reduce.py
    ionian run --split 2 examples/python/all_reduce.py          # two ranks on one GPU
    ionian run --simulate H100:2 examples/python/all_reduce.py --megabytes 4

On NCCL with torch's arrays on real GPUs, over shared memory with numpy's on simulated ones.
"""

from __future__ import annotations

import time
from typing import Any

import ionian

app = ionian.App("all-reduce")


def array_of(value: float, count: int, device: int | None) -> Any:
    """Returns ``count`` float32 numbers on a GPU, on the host where it is simulated."""
    if device is None:
        import numpy

        return numpy.full(count, value, numpy.float32)
    import torch

    return torch.full((count,), value, device=f"cuda:{device}")


@app.function(gpu="any:2", timeout=120)
@ionian.spmd(gather=True)
def all_reduce(megabytes: int, rounds: int) -> tuple[int, float, float]:
    """Returns the rank, one element of the sum over ranks of (rank + 1), and seconds a round."""
    comm = ionian.communicator()
    x = array_of(comm.rank + 1.0, megabytes * 250_000, comm.device)
    comm.all_reduce(x)  # in place; on GPUs it is enqueued on torch's stream
    total = float(x[0])
    comm.barrier()
    begin = time.perf_counter()
    for _ in range(rounds):
        comm.all_reduce(x, "max")
    comm.wait()
    return comm.rank, total, (time.perf_counter() - begin) / rounds


@app.local_entrypoint()
def main(megabytes: int = 64, rounds: int = 10) -> None:
    ranks = all_reduce.remote(megabytes, rounds)
    size = len(ranks)
    for rank, total, _ in ranks:
        assert total == size * (size + 1) / 2
        print(f"rank {rank}: 1 + … + {size} = {total:g}")
    seconds = max(seconds for _, _, seconds in ranks)
    bus = megabytes / 1e3 / seconds * 2 * (size - 1) / size  # as nccl-tests defines it
    print(f"{megabytes} MB in {seconds * 1e3:.2f} ms: {bus:.1f} GB/s of bus bandwidth")
