"""A layer too large for one GPU, cut over several: y = gelu(x @ w1) @ w2.

    ionian run examples/python/tensor_parallel.py
    ionian run --split 2 examples/python/tensor_parallel.py --width 2048
    ionian run --simulate H100:2 examples/python/tensor_parallel.py --width 128

Rank r keeps its columns of w1 and its rows of w2. Each product of its own is a part of the sum y,
which an all-reduce adds up. Rows of x go through in pieces, so that the sum of one piece travels
between GPUs while the next is being multiplied.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import ionian

app = ionian.App("tensor-parallel")


class Device:
    """Arrays of numpy on a simulated GPU, of torch on a real one."""

    def __init__(self, device: int | None) -> None:
        self.torch: Any = None
        if device is None:
            return
        import torch

        torch.cuda.set_device(device)
        self.torch = torch
        self.travel = torch.cuda.Stream()

    def put(self, values: np.ndarray) -> Any:
        return values if self.torch is None else self.torch.as_tensor(values, device="cuda")

    def get(self, array: Any) -> np.ndarray:
        return array if self.torch is None else array.cpu().numpy()

    def add_up(self, comm: ionian.comm.Communicator, part: Any) -> None:
        """Starts the sum over ranks of ``part``, in place, beside what is computed meanwhile."""
        if self.torch is None:
            comm.all_reduce(part)
            return
        self.travel.wait_stream(self.torch.cuda.current_stream())
        comm.all_reduce(part, stream=self.travel)
        part.record_stream(self.travel)

    def finish(self) -> None:
        if self.torch is not None:
            self.torch.cuda.current_stream().wait_stream(self.travel)
            self.torch.cuda.synchronize()


def layer(width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns x, w1, w2; every rank makes the same."""
    random = np.random.default_rng(0)
    x = random.standard_normal((width, width), np.float32)
    w1 = random.standard_normal((width, 4 * width), np.float32) / width**0.5
    w2 = random.standard_normal((4 * width, width), np.float32) / (4 * width) ** 0.5
    return x, w1, w2


@app.function(gpu="any:2", timeout=300)
@ionian.spmd()
def forward(width: int, pieces: int) -> tuple[np.ndarray, float]:
    """Returns y and the seconds that one forward pass took."""
    comm = ionian.communicator()
    device = Device(comm.device)
    x, w1, w2 = layer(width)
    mine = slice(
        comm.rank * 4 * width // comm.world_size, (comm.rank + 1) * 4 * width // comm.world_size
    )
    x, w1, w2 = device.put(x), device.put(w1[:, mine].copy()), device.put(w2[mine].copy())
    y = device.put(np.empty((width, width), np.float32))
    seconds = 0.0
    for _ in range(3):  # the first finds algorithms and makes connections
        comm.barrier()
        begin = time.perf_counter()
        for piece in range(pieces):
            rows = slice(piece * width // pieces, (piece + 1) * width // pieces)
            hidden = ionian.blas.matmul(x[rows], w1, activation="gelu")
            ionian.blas.matmul(hidden, w2, out=y[rows])
            device.add_up(comm, y[rows])
        device.finish()
        seconds = time.perf_counter() - begin
    return device.get(y), seconds


@app.function(gpu="any", timeout=300)
def on_one_gpu(width: int) -> np.ndarray:
    device = Device(None if all(d.simulated for d in ionian.inventory().devices) else 0)
    x, w1, w2 = (device.put(part) for part in layer(width))
    return device.get(ionian.blas.matmul(ionian.blas.matmul(x, w1, activation="gelu"), w2))


@app.local_entrypoint()
def main(width: int = 1024, pieces: int = 4) -> None:
    y, seconds = forward.remote(width, pieces)
    expected = on_one_gpu.remote(width)
    worst = float(np.abs(y - expected).max())
    print(f"width {width}, {pieces} pieces: {seconds * 1e3:.2f} ms a pass")
    print(f"farthest from one GPU: {worst:.1e}")
    assert worst < 1e-4, "the parts do not add up"
