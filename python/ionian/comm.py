"""Collectives between ranks: NCCL on GPUs, the same calls over shared memory on simulated ones.

Inside ``@ionian.spmd()`` call ``ionian.communicator()``. Elsewhere:

    id = ionian.comm.unique_id("nccl")          # in one process, given to all
    comm = ionian.comm.Communicator(id, rank, world_size, device=rank)
    comm.all_reduce(gradients, "avg")
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from . import _core, _libraries
from .exception import ExecutionError

__all__ = ["Communicator", "unique_id"]

_libraries.load("IONIAN_NCCL_LIBRARY", _core.nccl_reason)


def unique_id(backend: str) -> bytes:
    """Returns what every rank of one communicator must be given.

    ``backend``: "nccl", or "shared_memory" for arrays of the host. Make it once, in a process that
    lives until all have joined. Raises NotFoundError if NCCL is not there.
    """
    return _core.unique_id(backend)


class Communicator:
    """The ranks that were given the same id. Every rank makes the same calls in the same order.

    Arrays are contiguous, of numpy, torch, cupy …, where the communicator is. On GPUs calls go onto
    the stream that the array's library works on (or ``stream=``) and return at once; ``wait()``
    says when they are done. On the host they return when they are done. One thread at a time.

    Raises InvalidError for arrays that do not fit, and over shared memory when ranks call different
    things; TimeoutError when ranks do not come; ConnectionError when one has ended; CudaError.
    """

    def __init__(
        self,
        unique_id: bytes,
        rank: int,
        world_size: int,
        device: int | None = None,
        timeout: float = 60.0,
    ) -> None:
        """Joins, and waits for all others. ``device``: CUDA's number of the GPU, None for the host.
        ``timeout``: seconds that any call may wait for other ranks."""
        self._set(_core.Communicator(unique_id, rank, world_size, device, timeout))

    def _set(self, native: _core.Communicator) -> None:
        self._native: _core.Communicator | None = native
        self._grouped: list[Any] | None = None  # arrays of calls that are still to be started
        self.rank = native.rank
        self.world_size = native.world_size
        self.device = native.device
        self.backend = native.backend

    def _open(self, *arrays: Any) -> _core.Communicator:
        if self._native is None:
            raise ExecutionError("[communicator] it is closed\nnext: make a new one")
        if self._grouped is not None:
            self._grouped.extend(arrays)
        return self._native

    def all_reduce(self, x: Any, op: str = "sum", *, out: Any = None, stream: Any = None) -> Any:
        """Combines ``x`` of all ranks by ``op``: "sum", "prod", "max", "min", "avg". Writes to
        ``out``, or to ``x`` itself; returns what it wrote to."""
        return self._open(x, out).all_reduce(x, op, out=out, stream=stream)

    def reduce(
        self, x: Any, root: int = 0, op: str = "sum", *, out: Any = None, stream: Any = None
    ) -> Any:
        """As ``all_reduce``, with the result in rank ``root`` only."""
        return self._open(x, out).reduce(x, root, op, out=out, stream=stream)

    def broadcast(self, x: Any, root: int = 0, *, stream: Any = None) -> Any:
        """Makes every rank's ``x`` that of rank ``root``; returns ``x``."""
        return self._open(x).broadcast(x, root, stream=stream)

    def all_gather(self, x: Any, *, out: Any = None, stream: Any = None) -> Any:
        """Returns ``x`` of rank 0, then of rank 1, …, along the first dimension."""
        return self._open(x, out).all_gather(x, out=out, stream=stream)

    def reduce_scatter(
        self, x: Any, op: str = "sum", *, out: Any = None, stream: Any = None
    ) -> Any:
        """Returns this rank's part, along the first dimension, of what ``all_reduce`` would give."""
        return self._open(x, out).reduce_scatter(x, op, out=out, stream=stream)

    def all_to_all(self, x: Any, *, out: Any = None, stream: Any = None) -> Any:
        """Sends part j of ``x`` (along the first dimension) to rank j; returns what came, by rank."""
        return self._open(x, out).all_to_all(x, out=out, stream=stream)

    def send(self, x: Any, to: int, *, stream: Any = None) -> None:
        """Sends ``x`` to a rank, which calls ``recv``. Both ways at once: inside ``group()``."""
        self._open(x).send(x, to, stream=stream)

    def recv(self, x: Any, source: int, *, stream: Any = None) -> Any:
        """Receives into ``x`` what rank ``source`` sends; returns ``x``."""
        return self._open(x).recv(x, source, stream=stream)

    def barrier(self, *, stream: Any = None) -> None:
        """Returns once every rank has called it and the work before it on ``stream`` is done."""
        self._open().barrier(stream=stream)

    @contextlib.contextmanager
    def group(self) -> Iterator[None]:
        """Starts the calls made inside together, at its end."""
        native = self._open()
        native.group_start()
        outermost = self._grouped is None
        if outermost:
            self._grouped = []
        try:
            yield
        finally:
            try:
                native.group_end()
            finally:
                if outermost:
                    self._grouped = None

    def split(self, color: int, key: int = 0) -> Communicator | None:
        """Returns the communicator of the ranks that gave the same ``color``, ordered by ``key``;
        None where ``color`` is negative. Every rank must call it."""
        native = self._open().split(color, key)
        if native is None:
            return None
        made = Communicator.__new__(Communicator)
        made._set(native)
        return made

    def wait(self, *, stream: Any = None) -> None:
        """Waits for all work on ``stream`` (default: the default stream) and raises what went wrong
        in it. Ctrl-C interrupts it; the communicator is aborted then."""
        self._open().wait(stream=stream)

    def abort(self) -> None:
        """Ends every call that waits, in any thread. The communicator can be used no more."""
        if self._native is not None:
            self._native.abort()

    def close(self) -> None:
        """Leaves it. Idempotent; also done when it is garbage collected."""
        self._native = None

    def __enter__(self) -> Communicator:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        where = "the host" if self.device is None else f"cuda:{self.device}"
        return f"Communicator(rank {self.rank} of {self.world_size}, {self.backend}, {where})"
