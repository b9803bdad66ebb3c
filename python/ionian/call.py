"""A call that was handed in and not waited for."""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable
from typing import Any

from . import _core, serialization
from .exception import InvalidError

_RETURNED = _core.RETURNED


def value_of(call: _core.Call, name: str) -> Any:
    """Returns the result of a call that is done, or raises what it raised."""
    code, head, buffers = call.result()
    if code == _RETURNED:
        return serialization.loads_result(head, buffers, name)
    raise serialization.decode_exception(head, name)


def _check_timeout(timeout: Any) -> None:
    good = timeout is None or (isinstance(timeout, (int, float)) and timeout == timeout)
    if not good:
        raise InvalidError(
            f"[FunctionCall.get] expected timeout= in seconds or None, got {timeout!r}"
        )


class with_aio:  # in small letters, as decorators are
    """A method that has a form for coroutines beside it: ``call.get()``, ``await call.get.aio()``."""

    def __init__(self, sync: Callable[..., Any]) -> None:
        self._sync = sync
        self._aio: Callable[..., Any] = sync
        self.is_static = False

    def form(self, aio: Callable[..., Any]) -> Callable[..., Any]:
        self._aio = aio
        return aio

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        bound = () if self.is_static or instance is None else (instance,)
        method = functools.partial(self._sync, *bound)
        method.aio = functools.partial(self._aio, *bound)  # type: ignore[attr-defined]
        return method


class FunctionCall:
    """Returned by ``Function.spawn``. Thread-safe. Methods have ``.aio`` forms for coroutines.

    ``get(timeout=None)``: the result, as often as it is asked for, or what the function raised; the
    builtin ``TimeoutError`` if the call is not done within ``timeout`` seconds.
    ``cancel(terminate_containers=False)``: ends the call: ``get`` raises RemoteError, the function gets
    InputCancellation; with ``terminate_containers`` its worker is killed.
    ``gather(*calls)``: the results in order; the first failure in that order is raised.
    """

    def __init__(self, call: _core.Call, name: str, run_id: str) -> None:
        self._call = call
        self._name = name
        self._run_id = run_id

    @property
    def object_id(self) -> str:
        """An id of this call, unique on this machine."""
        return f"fc-{self._run_id[:16]}{self._call.id:08d}"

    @with_aio
    def get(self, timeout: float | None = None) -> Any:
        _check_timeout(timeout)
        self._check(self._call.wait(timeout), timeout)
        return value_of(self._call, self._name)

    @get.form
    async def _get(self, timeout: float | None = None) -> Any:
        from . import aio

        _check_timeout(timeout)
        self._check(await aio.done(self._call, timeout), timeout)
        return value_of(self._call, self._name)

    def _check(self, done: bool, timeout: float | None) -> None:
        if not done:
            raise builtins.TimeoutError(
                f"[{self._name}] {self.object_id} is not done after {timeout:g} s; it goes on, ask again"
            )

    @with_aio
    def cancel(self, terminate_containers: bool = False) -> None:
        self._call.cancel(terminate_containers)

    @cancel.form
    async def _cancel(self, terminate_containers: bool = False) -> None:
        self._call.cancel(terminate_containers)

    @staticmethod
    def _checked(calls: tuple[Any, ...]) -> None:
        for call in calls:
            if not isinstance(call, FunctionCall):
                raise InvalidError(
                    f"[FunctionCall.gather] expected calls returned by .spawn(), got {type(call).__name__}; "
                    "write FunctionCall.gather(*calls)"
                )

    @with_aio
    def gather(*calls: Any) -> list[Any]:
        FunctionCall._checked(calls)
        return [call.get() for call in calls]

    @gather.form
    async def _gather(*calls: Any) -> list[Any]:
        FunctionCall._checked(calls)
        return [await call.get.aio() for call in calls]

    gather.is_static = True

    def __repr__(self) -> str:
        return f"FunctionCall({self.object_id!r}, function={self._name!r})"
