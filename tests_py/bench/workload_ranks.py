"""What two ranks run: the same collectives by ionian, by torch.distributed, and by NCCL itself."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

import ionian

from .measure import interleave

app = ionian.App("bench-ranks")

TORCH, RAW = "torch.distributed", "raw NCCL"
Sampled = tuple[list[list[float]], list[list[float]], dict[str, list[list[float]]]]


class RawNccl:
    """NCCL's own calls, with nothing in between but ctypes."""

    class Id(ctypes.Structure):
        _fields_ = [("bytes", ctypes.c_char * 128)]

    def __init__(self, comm: ionian.comm.Communicator) -> None:
        self._nccl = ctypes.CDLL(ionian._core.nccl_path() or "libnccl.so.2")
        identity = self.Id()
        raw = torch.zeros(128, dtype=torch.uint8, device="cuda")
        if comm.rank == 0:
            self._check(self._nccl.ncclGetUniqueId(ctypes.byref(identity)))
            raw.copy_(torch.frombuffer(bytearray(bytes(identity)), dtype=torch.uint8))
        comm.broadcast(raw)
        ctypes.memmove(ctypes.byref(identity), bytes(raw.cpu().numpy()), 128)
        self._comm = ctypes.c_void_p()
        self._check(
            self._nccl.ncclCommInitRank(
                ctypes.byref(self._comm), comm.world_size, identity, comm.rank
            )
        )

    @staticmethod
    def _check(result: int) -> None:
        assert result == 0, f"NCCL says {result}"

    def all_reduce(self, x: torch.Tensor) -> None:
        address = ctypes.c_void_p(x.data_ptr())
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        self._check(
            self._nccl.ncclAllReduce(
                address, address, ctypes.c_size_t(x.numel()), 7, 2, self._comm, stream
            )
        )

    def close(self) -> None:
        self._nccl.ncclCommDestroy(self._comm)


def _sampler(reduce: Callable[[Any], Any], x: Any, repeats: int, wait: bool) -> Any:
    def sample() -> list[float]:
        torch.cuda.synchronize()
        dist.barrier()
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(repeats):
            reduce(x)
        if not wait:
            seconds = time.perf_counter() - begin
            torch.cuda.synchronize()
        else:
            torch.cuda.synchronize()
            seconds = time.perf_counter() - begin
        return [seconds / repeats]

    return sample


def _compare(bytes_: int, repeats: int, wait: bool) -> Sampled:
    comm = ionian.communicator()
    torch.cuda.set_device(ionian.local_rank())
    if not dist.is_initialized():
        dist.init_process_group("nccl", device_id=torch.device("cuda", ionian.local_rank()))
    raw = RawNccl(comm)
    x = torch.zeros(max(1, bytes_ // 4), device="cuda")
    for reduce in (lambda x: comm.all_reduce(x, "max"), raw.all_reduce):
        reduce(x)
    series = interleave(
        _sampler(lambda x: comm.all_reduce(x, "max"), x, repeats, wait),
        {
            TORCH: _sampler(lambda x: dist.all_reduce(x, dist.ReduceOp.MAX), x, repeats, wait),
            RAW: _sampler(raw.all_reduce, x, repeats, wait),
        },
    )
    raw.close()
    return series.ours, series.again, series.others


@app.function(gpu="any:2", timeout=200)
@ionian.spmd()
def compare(bytes_: int, repeats: int, wait: bool = True) -> Sampled:
    """Returns seconds of an all-reduce of that many bytes; without ``wait``, until it is enqueued."""
    return _compare(bytes_, repeats, wait)


@app.function(gpu="any:1", timeout=200)
@ionian.spmd()
def alone(bytes_: int, repeats: int, wait: bool = False) -> Sampled:
    return _compare(bytes_, repeats, wait)


@app.function(gpu="any:2", timeout=200)
@ionian.spmd()
def copy_rate(bytes_: int) -> float:
    """Returns GB/s of copies from the first GPU to the second; 0 on slices of one."""
    if torch.cuda.device_count() < 2 or ionian.rank() != 0:
        return 0.0
    return ionian._core.copy_bandwidth(0, 1, bytes_)


def _reduce_once() -> float:
    """Returns the sum over ranks of 1, through the first all-reduce of the call."""
    comm = ionian.communicator()
    x = torch.ones(256, device=f"cuda:{ionian.local_rank()}")
    comm.all_reduce(x)
    return float(x[0].item())


@app.function(gpu="any:2", timeout=200)
@ionian.spmd()
def reduce_once() -> float:
    return _reduce_once()


@app.function(gpu="any:2", timeout=200, scaledown_window=0.005)
@ionian.spmd()
def reduce_first() -> float:
    """The same in ranks that end as soon as they have answered."""
    return _reduce_once()


@app.function(gpu="any:2", timeout=200)
@ionian.spmd()
def noop() -> None:
    return None


@app.function(gpu="any:2", timeout=60)
@ionian.spmd()
def hang(path: str) -> None:
    """Rank 1 says where it is and stays away from the collective that rank 0 waits in."""
    comm = ionian.communicator()
    x = torch.ones(256, device=f"cuda:{ionian.local_rank()}")
    comm.all_reduce(x)
    comm.wait()
    if not path:
        return
    if ionian.rank() == 1:
        with open(path + ".part", "w") as file:
            file.write(str(os.getpid()))
        os.rename(path + ".part", path)
        time.sleep(60)
    comm.all_reduce(x)
    comm.wait()


#: The program of `reduce_once` for torchrun, and for `ionian run`.
FOR_TORCHRUN = """
import os
import torch
import torch.distributed as dist
if torch.cuda.device_count() < int(os.environ["WORLD_SIZE"]):
    os.environ["NCCL_HOSTID"] = os.environ["RANK"]
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
dist.init_process_group("nccl")
x = torch.ones(256, device="cuda")
dist.all_reduce(x)
assert x[0].item() == dist.get_world_size()
dist.destroy_process_group()
"""
FOR_IONIAN = """
import ionian
import torch

app = ionian.App("reduce-once")


@app.function(gpu="any:2")
@ionian.spmd()
def reduce_once() -> float:
    x = torch.ones(256, device=f"cuda:{ionian.local_rank()}")
    ionian.communicator().all_reduce(x)
    return float(x[0].item())


@app.local_entrypoint()
def main() -> None:
    assert reduce_once.remote() == 2
"""
