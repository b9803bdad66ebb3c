"""``map``, ``starmap`` and ``for_each``: many calls at once, results as they come.

At most _OUTSTANDING calls are under way for one map, so that inputs are pulled as they are needed: an
infinite iterator works. A list, tuple or range is fed by the thread that takes the results; any other
iterator by a thread of its own, because its ``next`` may block.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from . import _core, aio, serialization
from .exception import InvalidError

if TYPE_CHECKING:
    from .function import Function

_OUTSTANDING = 1000
_OUTSTANDING_BYTES = 512 << 20
_BATCH = 256
_SLICE = 0.02  # seconds between looks at a feeder that has nothing under way
_RETURNED = _core.RETURNED
_PLAIN_ITERABLES = (list, tuple, range)


class _Feed:
    """Turns inputs into calls, never more at once than may be outstanding."""

    def __init__(
        self,
        function: Function,
        inputs: Iterator[tuple[Any, ...]],
        kwargs: dict[str, Any],
        fd: int = -1,
    ) -> None:
        self.pool = function.pool()
        self.group = _core.CallGroup(function.app.session(function.name).executor, fd)
        self.inputs = inputs
        self.kwargs = kwargs
        self.submitted = 0
        self.finished = 0
        self.bytes = 0
        self.sizes: dict[int, int] = {}
        self.ended = False
        self.failure: BaseException | None = None
        self._room = threading.Condition()
        self._stopped = False

    def feed(self) -> None:
        """Submits until the inputs end or enough is outstanding."""
        submit, group, dumps, kwargs = (
            self.pool.submit,
            self.group,
            serialization.dumps_call,
            self.kwargs,
        )
        inputs = self.inputs
        try:
            while self.submitted - self.finished < _OUTSTANDING and self.bytes < _OUTSTANDING_BYTES:
                args = next(inputs)
                if self._stopped:  # the map was left while its iterator was waited for
                    return
                head, buffers = dumps(args, kwargs)
                if buffers is not None:
                    size = sum(memoryview(buffer).nbytes for buffer in buffers)
                    self.sizes[self.submitted] = size
                    self.bytes += size
                call = submit(head, buffers, group, self.submitted)
                self.submitted += 1
                if self._stopped:  # in between: the others have been cancelled
                    call.cancel()
                    return
        except StopIteration:
            self.ended = True
        except BaseException as exc:
            self.failure = exc
            self.ended = True

    def feed_in_background(self) -> None:
        threading.Thread(target=self._feed_until_ended, name="ionian-map", daemon=True).start()

    def _feed_until_ended(self) -> None:
        while not self.ended and not self._stopped:
            self.feed()
            with self._room:
                self._room.wait_for(self._has_room)

    def _has_room(self) -> bool:
        return (
            self._stopped
            or self.ended
            or (self.submitted - self.finished < _OUTSTANDING and self.bytes < _OUTSTANDING_BYTES)
        )

    def done(self, call: _core.Call) -> None:
        self.finished += 1
        if self.sizes:
            self.bytes -= self.sizes.pop(call.tag, 0)

    def make_room(self) -> None:
        with self._room:
            self._room.notify()

    def stop(self) -> None:
        self._stopped = True
        self.make_room()
        self.group.cancel()


def _outcome(call: _core.Call, name: str, return_exceptions: bool) -> Any:
    """Returns what a call that is done gives to its map; raises its failure unless it is to be returned."""
    try:
        code, head, buffers = call.result()
        if code == _RETURNED:
            return serialization.loads_result(head, buffers, name)
        failure = serialization.decode_exception(head, name)
    except Exception as exc:
        failure = exc
    if return_exceptions and isinstance(failure, Exception):
        return failure
    raise failure


class _Order:
    """Gives outcomes back in input order, or as they come."""

    def __init__(self, ordered: bool) -> None:
        self._ordered = ordered
        self._early: dict[int, Any] = {}
        self._next = 0

    def put(self, tag: int, value: Any) -> Iterator[Any]:
        if not self._ordered:
            yield value
            return
        if tag != self._next:
            self._early[tag] = value
            return
        yield value
        self._next += 1
        early = self._early
        while early and self._next in early:
            yield early.pop(self._next)
            self._next += 1


def _results(
    function: Function,
    inputs: Iterable[tuple[Any, ...]],
    total: int | None,
    kwargs: dict[str, Any],
    ordered: bool,
    return_exceptions: bool,
) -> Iterator[Any]:
    feed = _Feed(function, iter(inputs), kwargs)
    session = function.app.session(function.name)
    order, name, group = _Order(ordered), function.name, feed.group
    in_background = total is None
    session.progress(name, 0, total, False)
    try:
        if in_background:
            feed.feed_in_background()
        while True:
            if not in_background and not feed.ended:
                feed.feed()
            if feed.finished == feed.submitted and feed.ended:
                if (
                    feed.finished == feed.submitted
                ):  # the feeder may have submitted one before it ended
                    break
            calls = group.next_many(_BATCH, _SLICE if in_background else None)
            if calls:
                for call in calls:
                    feed.done(call)
                    value = _outcome(call, name, return_exceptions)
                    yield from order.put(call.tag, value)
                session.progress(name, feed.finished, total, False)
                if in_background:
                    feed.make_room()
        if feed.failure is not None:
            raise feed.failure
    finally:
        feed.stop()
        session.progress(name, feed.finished, total, True)


class Results:
    """The results of a map: an iterator. Nothing happens before it is iterated."""

    def __init__(self, results: Iterator[Any], name: str) -> None:
        self._results = results
        self._name = name
        self._used = False

    def __iter__(self) -> Iterator[Any]:
        self._used = True
        return self._results

    def __next__(self) -> Any:
        self._used = True
        return next(self._results)

    def __del__(self) -> None:
        if not self._used:
            warnings.warn(
                f"[{self._name}] a map was made but not iterated, so nothing ran; write "
                f"list({self._name}.map(...)), or {self._name}.for_each(...) for the effect",
                UserWarning,
                stacklevel=2,
            )


def _refuse_event_loop(name: str, method: str) -> None:
    """Blocking an event loop stops everything in it. A notebook's own loop is no reason: it waits anyway."""
    events = sys.modules.get("asyncio.events")
    if events is None or "ipykernel" in sys.modules:
        return
    if events._get_running_loop() is not None:
        raise InvalidError(
            f"[{name}] .{method}() blocks the event loop that runs here\n"
            f"next: write `async for result in {name}.{method}.aio(...)`"
        )


def _zipped(iterables: tuple[Any, ...], name: str) -> tuple[Iterator[tuple[Any, ...]], int | None]:
    if not iterables:
        raise InvalidError(f"[{name}] .map() needs at least one iterable of inputs")
    for iterable in iterables:
        if not hasattr(iterable, "__iter__") and not hasattr(iterable, "__getitem__"):
            raise InvalidError(
                f"[{name}] .map() expected iterables of inputs, got {type(iterable).__name__}; for one call write "
                f"{name}.remote(...)"
            )
    sized = all(type(iterable) in _PLAIN_ITERABLES for iterable in iterables)
    total = min(len(iterable) for iterable in iterables) if sized else None
    return zip(*iterables, strict=False), total


def _checked_tuples(inputs: Iterable[Any], name: str) -> Iterator[tuple[Any, ...]]:
    for args in inputs:
        if isinstance(args, (str, bytes)) or not isinstance(args, Iterable):
            raise InvalidError(
                f"[{name}] .starmap() expected a sequence of arguments for each call, got {type(args).__name__}; "
                "for one argument each use .map()"
            )
        yield tuple(args)


def map(
    function: Function,
    *iterables: Any,
    kwargs: dict[str, Any] | None = None,
    order_outputs: bool = True,
    return_exceptions: bool = False,
    wrap_returned_exceptions: bool | None = None,
) -> Results:
    """Calls the function once for each tuple of inputs, on all of its workers; stops at the shortest.

    Yields results in input order, or with ``order_outputs=False`` as they end. The first failure that
    arrives is raised and the rest is cancelled; with ``return_exceptions`` failures take their slots.
    """
    _refuse_event_loop(function.name, "map")
    inputs, total = _zipped(iterables, function.name)
    return Results(
        _results(function, inputs, total, kwargs or {}, order_outputs, return_exceptions),
        function.name,
    )


def starmap(
    function: Function,
    inputs: Any,
    *,
    kwargs: dict[str, Any] | None = None,
    order_outputs: bool = True,
    return_exceptions: bool = False,
    wrap_returned_exceptions: bool | None = None,
) -> Results:
    """``map`` over tuples of arguments: ``f.starmap([(1, 2), (3, 4)])``."""
    _refuse_event_loop(function.name, "starmap")
    total = len(inputs) if type(inputs) in _PLAIN_ITERABLES else None
    tuples = _checked_tuples(inputs, function.name)
    return Results(
        _results(function, tuples, total, kwargs or {}, order_outputs, return_exceptions),
        function.name,
    )


def for_each(
    function: Function,
    *iterables: Any,
    kwargs: dict[str, Any] | None = None,
    ignore_exceptions: bool = False,
) -> None:
    """``map`` for the effect: runs at once, returns when all calls are done."""
    _refuse_event_loop(function.name, "for_each")
    inputs, total = _zipped(iterables, function.name)
    for _ in _results(function, inputs, total, kwargs or {}, False, ignore_exceptions):
        pass


async def _results_aio(
    function: Function,
    inputs: Any,
    kwargs: dict[str, Any],
    ordered: bool,
    return_exceptions: bool,
) -> AsyncIterator[Any]:
    """Inputs may come from sync or async iterators; sync ones are pulled by a thread."""
    with aio.Completions() as completions:
        source = aio.AsyncSource(inputs) if hasattr(inputs, "__aiter__") else iter(inputs)
        feed = _Feed(function, source, kwargs, completions.fd)
        order = _Order(ordered)
        try:
            feed.feed_in_background()
            while not (feed.ended and feed.finished == feed.submitted):
                calls = feed.group.next_many(_BATCH, 0)
                if not calls:
                    await completions.wait(_SLICE)
                    continue
                for call in calls:
                    feed.done(call)
                    for value in order.put(
                        call.tag, _outcome(call, function.name, return_exceptions)
                    ):
                        yield value
                feed.make_room()
            if feed.failure is not None:
                raise feed.failure
        finally:
            feed.stop()
            if isinstance(source, aio.AsyncSource):
                source.stop()


def map_aio(
    function: Function,
    *iterables: Any,
    kwargs: dict[str, Any] | None = None,
    order_outputs: bool = True,
    return_exceptions: bool = False,
    wrap_returned_exceptions: bool | None = None,
) -> AsyncIterator[Any]:
    """``map`` for coroutines: ``async for result in f.map.aio(inputs)``. Async iterators are taken too."""
    if any(hasattr(iterable, "__aiter__") for iterable in iterables):
        inputs: Any = aio.zip_async(iterables)
    else:
        inputs, _ = _zipped(iterables, function.name)
    return _results_aio(function, inputs, kwargs or {}, order_outputs, return_exceptions)


def starmap_aio(
    function: Function,
    inputs: Any,
    *,
    kwargs: dict[str, Any] | None = None,
    order_outputs: bool = True,
    return_exceptions: bool = False,
    wrap_returned_exceptions: bool | None = None,
) -> AsyncIterator[Any]:
    """``starmap`` for coroutines."""
    tuples = inputs if hasattr(inputs, "__aiter__") else _checked_tuples(inputs, function.name)
    return _results_aio(function, tuples, kwargs or {}, order_outputs, return_exceptions)


async def for_each_aio(
    function: Function,
    *iterables: Any,
    kwargs: dict[str, Any] | None = None,
    ignore_exceptions: bool = False,
) -> None:
    """``for_each`` for coroutines."""
    inputs, _ = _zipped(iterables, function.name)
    async for _ in _results_aio(function, inputs, kwargs or {}, False, ignore_exceptions):
        pass
