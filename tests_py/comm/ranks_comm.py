"""Functions for the communicator's tests: each runs once for each GPU."""

from __future__ import annotations

import os
import signal
import time

import conformance

import ionian

app = ionian.App("collectives")


def _conform(library: str, dtypes: list[str], sizes: list[int]) -> list[str]:
    return conformance.failures(library, dtypes, sizes)


@app.function(gpu="any:1")
@ionian.spmd(gather=True)
def one(library: str, dtypes: list[str], sizes: list[int]) -> list[str]:
    return _conform(library, dtypes, sizes)


@app.function(gpu="any:2")
@ionian.spmd(gather=True)
def two(library: str, dtypes: list[str], sizes: list[int]) -> list[str]:
    return _conform(library, dtypes, sizes)


@app.function(gpu="any:4")
@ionian.spmd(gather=True)
def four(library: str, dtypes: list[str], sizes: list[int]) -> list[str]:
    return _conform(library, dtypes, sizes)


@app.function(gpu="any:2", timeout=60)
@ionian.spmd()
def fault(library: str, how: str) -> None:
    """A collective that rank 1 does not come to the end of."""
    comm = ionian.communicator(timeout=3)
    lib = conformance.Library(library)
    x = lib.make(conformance.values(comm.rank, 1000, "float32"), "float32")
    comm.all_reduce(x)
    comm.wait()
    if comm.rank == 1 and how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if comm.rank == 1 and how == "raise":
        raise ValueError("rank 1 has had enough")
    if comm.rank == 1 and how == "skip":
        time.sleep(30)
    comm.all_reduce(x)
    comm.wait()


@app.function(gpu="any:2", timeout=60)
@ionian.spmd(gather=True)
def streams(rounds: int) -> list[bool]:
    """Collectives on side streams see what was computed there before, and are seen after."""
    import torch

    comm = ionian.communicator()
    torch.cuda.set_device(ionian.local_rank())
    side = torch.cuda.Stream()
    good = []
    with torch.cuda.stream(side):
        for i in range(rounds):
            x = torch.full((1 << 20,), 1.0, device="cuda")
            for _ in range(20):
                x = x * 1.0
            x += i
            comm.all_reduce(x)
            good.append(bool((x * 2 == 2 * comm.world_size * (1 + i)).all().item()))
    return good


@app.function(gpu="any:2", timeout=120)
@ionian.spmd(gather=True)
def torch_distributed() -> float:
    """torch's own process group, by the environment that a rank has."""
    import torch
    import torch.distributed as dist

    torch.cuda.set_device(ionian.local_rank())
    if not dist.is_initialized():
        dist.init_process_group("nccl")
    x = torch.full((10,), float(dist.get_rank() + 1), device="cuda")
    dist.all_reduce(x)
    return float(x.sum().item())


@app.function(gpu="any:2", timeout=120)
@ionian.spmd(gather=True)
def where() -> dict[str, object]:
    import torch

    return {
        "devices": torch.cuda.device_count(),
        "backend": ionian.communicator().backend,
        "host_id": os.environ.get("NCCL_HOSTID"),
        "uuid": str(torch.cuda.get_device_properties(ionian.local_rank()).uuid),
    }
