"""The GPUs of this machine, without an app: who has what, and leases for this very process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from . import _core, gpu
from .exception import InvalidError


def inventory(*, simulate: str | None = None) -> _core.Inventory:
    """Returns the GPUs of this machine, or simulated ones; None means what IONIAN_GPUS says."""
    return _core.read_inventory(simulate=simulate)


def lease(
    request: Any, *, timeout: float | None = None, simulate: str | None = None
) -> _core.Lease:
    """Takes GPUs for this process, waiting for them if need be; a context manager.

        with ionian.lease("H100:2") as lease:
            os.environ["CUDA_VISIBLE_DEVICES"] = lease.visible_devices

    ``timeout``: seconds to wait at most. Raises GpuRequestError, UnsatisfiableError,
    LeaseTimeoutError (naming who holds them).
    """
    parsed = gpu.parse_gpu(request)
    if parsed is None:
        raise InvalidError('[lease] expected a GPU request such as "any" or "H100:2", got None')
    book = _core.LeaseBook(
        inventory(simulate=simulate), match=os.environ.get("IONIAN_GPU_MATCH", "upgrade")
    )
    return book.acquire(parsed, app="ionian.lease", timeout=timeout)


@contextlib.contextmanager
def enable_output() -> Iterator[None]:
    """Does nothing: output of workers is shown unless ``app.run(show_output=False)``. The service has it."""
    yield
