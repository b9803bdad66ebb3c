"""Waiting for calls in an event loop, without a thread for each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from . import _core, serialization

T = TypeVar("T")

if TYPE_CHECKING:
    from types import TracebackType

    from .function import Function


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Runs a function that blocks in a thread of its own: the loop's may all be waiting for it."""
    threads = ThreadPoolExecutor(1, "ionian")
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, function, *args)
    finally:
        threads.shutdown(wait=False)


class Completions:
    """An eventfd that the core writes when a call ends. Belongs to the running loop.

    The core writes to a duplicate of its own, so this one can be closed while calls are under way.
    """

    def __init__(self) -> None:
        self.fd = -1

    def __enter__(self) -> Completions:
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._loop.add_reader(self.fd, self._on_readable)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._loop.remove_reader(self.fd)
        os.close(self.fd)

    def _on_readable(self) -> None:
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            pass
        self._changed.set()

    async def wait(self, timeout: float | None) -> None:
        """Waits for a completion, or until ``timeout`` seconds have passed."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout)
        except asyncio.TimeoutError:
            return
        self._changed.clear()


async def done(call: _core.Call, timeout: float | None = None) -> bool:
    """Waits until ``call`` is done; returns whether it is after ``timeout`` seconds."""
    if call.done:
        return True
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout
    with Completions() as completions:
        call.watch(completions.fd)
        try:
            while not call.done:
                left = None if deadline is None else deadline - loop.time()
                if left is not None and left <= 0:
                    return False
                await completions.wait(left)
        finally:
            call.unwatch(completions.fd)
    return True


async def remote(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``Function.remote`` for coroutines. Cancelling the task cancels the call."""
    from .call import value_of

    head, buffers = serialization.dumps_call(args, kwargs)
    pool = function._pool
    if pool is None:  # the driver is asked for its GPUs, which takes its time
        pool = await in_thread(function.pool)
    call = pool.submit(head, buffers)
    try:
        await done(call)
    finally:
        call.cancel()  # does nothing to a call that is done
    return value_of(call, function.name)


class AsyncSource(Iterator[Any]):
    """An async iterator as a plain one, for a feeder thread: each ``next`` runs in the loop."""

    def __init__(self, inputs: Any) -> None:
        self._inputs = inputs.__aiter__()
        self._loop = asyncio.get_running_loop()
        self._stopped = False

    def __next__(self) -> Any:
        if self._stopped:
            raise StopIteration
        try:
            return asyncio.run_coroutine_threadsafe(self._step(), self._loop).result()
        except StopAsyncIteration:
            raise StopIteration from None

    async def _step(self) -> Any:
        return await self._inputs.__anext__()

    def stop(self) -> None:
        self._stopped = True


async def zip_async(iterables: tuple[Any, ...]) -> AsyncIterator[tuple[Any, ...]]:
    """``zip`` over iterators of which some are async."""
    sources = [
        iterable.__aiter__() if hasattr(iterable, "__aiter__") else iter(iterable)
        for iterable in iterables
    ]
    while True:
        args = []
        for source in sources:
            try:
                args.append(
                    await source.__anext__() if hasattr(source, "__anext__") else next(source)
                )
            except (StopAsyncIteration, StopIteration):
                return
        yield tuple(args)
