"""What every communicator must do, whatever it is made of: run inside the ranks of a call.

Values are small whole numbers, so that every partial result, in whatever order it is formed, is a
number of the type: equality is the test, for floating point too (the idea of nccl-tests).
"""

from __future__ import annotations

from typing import Any

import numpy

import ionian

NUMPY = "float64 float32 float16 int8 uint8 int32 uint32 int64 uint64".split()
TORCH = "float64 float32 float16 bfloat16 int8 uint8 int32 int64".split()
CUPY = "float64 float32 float16 int8 uint8 int32 uint32 int64 uint64".split()
FLOAT8 = ["float8_e4m3fn", "float8_e5m2"]  # hold whole numbers up to 8
SIZES = [1, 2, 3, 17, 1024, 300_001]
OPS = ["sum", "prod", "max", "min"]


class Library:
    """Arrays of one library, by the same few names."""

    def __init__(self, name: str) -> None:
        self.name = name
        if name != "numpy":
            self.device = ionian.local_rank()

    def make(self, values: numpy.ndarray, dtype: str) -> Any:
        if self.name == "numpy":
            return numpy.ascontiguousarray(values.astype(dtype))
        if self.name == "cupy":
            import cupy

            with cupy.cuda.Device(self.device):
                return cupy.asarray(values.astype(dtype))
        import torch

        return torch.tensor(values, device=f"cuda:{self.device}").to(getattr(torch, dtype))

    def numbers(self, array: Any) -> numpy.ndarray:
        if self.name == "numpy":
            return array.astype(numpy.int64)
        if self.name == "cupy":
            return array.get().astype(numpy.int64)
        import torch

        return array.to(torch.float64).to(torch.int64).cpu().numpy()


def values(rank: int, size: int, dtype: str) -> numpy.ndarray:
    """Returns what a rank has: 0, 1, 2, or 0 and 1 for 8-bit floating point."""
    many = 2 if dtype in FLOAT8 else 3
    return (numpy.arange(size) * 7 + rank * 5) % many


def combined(op: str, parts: list[numpy.ndarray]) -> numpy.ndarray:
    stacked = numpy.stack(parts)
    return {
        "sum": stacked.sum(0),
        "prod": stacked.prod(0),
        "max": stacked.max(0),
        "min": stacked.min(0),
    }[op]


def failures(library_name: str, dtypes: list[str], sizes: list[int]) -> list[str]:
    """Runs every collective on every type and size; returns what was not as it must be."""
    library = Library(library_name)
    comm = ionian.communicator()
    world, me = comm.world_size, comm.rank
    wrong: list[str] = []

    def check(what: str, got: Any, wanted: numpy.ndarray) -> None:
        numbers = library.numbers(got)
        if numbers.shape != wanted.shape or not numpy.array_equal(numbers, wanted):
            wrong.append(f"rank {me}: {what}: got {numbers[:5]}…, expected {wanted[:5]}…")

    for dtype in dtypes:
        for size in sizes:
            label = f"{dtype} {size}"
            parts = [values(rank, size, dtype) for rank in range(world)]
            wide = [values(rank, size * world, dtype) for rank in range(world)]

            def mine(part: Any = parts[me], dtype: str = dtype) -> Any:
                return library.make(part, dtype)

            for op in OPS:
                x = mine()
                out = library.make(numpy.zeros(size), dtype)
                check(
                    f"all_reduce {op} {label}", comm.all_reduce(x, op, out=out), combined(op, parts)
                )
                check(
                    f"all_reduce in place {op} {label}", comm.all_reduce(x, op), combined(op, parts)
                )
            for root in range(world):
                x = comm.reduce(mine(), root, "sum")
                check(f"reduce {label}", x, combined("sum", parts) if me == root else parts[me])
                check(f"broadcast {label}", comm.broadcast(mine(), root), parts[root])
            check(f"all_gather {label}", comm.all_gather(mine()), numpy.concatenate(parts))
            scattered = comm.reduce_scatter(library.make(wide[me], dtype), "max")
            check(
                f"reduce_scatter {label}",
                scattered,
                combined("max", wide)[me * size : (me + 1) * size],
            )
            exchanged = comm.all_to_all(library.make(wide[me], dtype))
            check(
                f"all_to_all {label}",
                exchanged,
                numpy.concatenate([w[me * size : (me + 1) * size] for w in wide]),
            )
            if world > 1:
                to, source = (me + 1) % world, (me - 1) % world
                inbox = library.make(numpy.zeros(size), dtype)
                with comm.group():
                    comm.send(mine(), to)
                    comm.recv(inbox, source)
                comm.wait()
                check(f"send and recv {label}", inbox, parts[source])
    part = comm.split(me % 2, -me)
    assert part is not None
    x = library.make(numpy.array([me]), "int64")
    check("split", part.all_reduce(x), numpy.array([sum(range(me % 2, world, 2))]))
    none = comm.split(-1)
    if none is not None:
        wrong.append("split(-1) is no communicator")
    comm.barrier()
    return wrong
