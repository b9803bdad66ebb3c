"""The GPUs of this machine, without an app: who has what, and leases for this very process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from . import _core, _runtime, gpu
from .exception import InvalidError

if TYPE_CHECKING:
    from .runner import Session


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


def explain(
    request: _core.GpuRequest, session: Session | None, app: str, function: str
) -> _core.LeaseExplanation:
    """Returns why ``request`` is not granted now; that of ``function`` in ``session`` if it waits."""
    match = os.environ.get("IONIAN_GPU_MATCH") or "upgrade"
    held: list[str] = []
    callers: list[str] = []
    if _runtime.in_worker:
        held = [uuid for uuid in os.environ.get("IONIAN_HELD_GPUS", "").split(",") if uuid]
        callers = os.environ.get("IONIAN_CALLERS", "").splitlines()
    if session is None or not session.is_ours():
        book = _core.LeaseBook(inventory(), match=match)
        return book.explain(
            request, held_by_ancestors=held, app=app, function=function, callers=callers
        )
    book = _core.LeaseBook(session.executor.inventory, match=session.match)
    return book.explain(
        request,
        held_by_ancestors=held,
        app=app,
        function=function,
        run=session.executor.run_id,
        callers=callers,
    )


@contextlib.contextmanager
def enable_output() -> Iterator[None]:
    """Does nothing: output of workers is shown unless ``app.run(show_output=False)``. The service has it."""
    yield
