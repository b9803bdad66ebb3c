"""A call that was handed in and not waited for."""

from __future__ import annotations

import builtins
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


class FunctionCall:
    """Returned by ``Function.spawn``. Thread-safe."""

    def __init__(self, call: _core.Call, name: str, run_id: str) -> None:
        self._call = call
        self._name = name
        self._run_id = run_id

    @property
    def object_id(self) -> str:
        """An id of this call, unique on this machine."""
        return f"fc-{self._run_id[:16]}{self._call.id:08d}"

    def get(self, timeout: float | None = None) -> Any:
        """Returns the result, as often as it is asked for; raises what the function raised.

        Raises the builtin ``TimeoutError`` if the call is not done within ``timeout`` seconds.
        """
        if not self._call.wait(timeout):
            raise builtins.TimeoutError(
                f"[{self._name}] {self.object_id} is not done after {timeout:g} s; it goes on, ask again"
            )
        return value_of(self._call, self._name)

    async def get_aio(self, timeout: float | None = None) -> Any:
        """``get`` for coroutines."""
        import asyncio

        for _ in range(100):  # most calls that are worth awaiting end later than this
            if self._call.done:
                break
            await asyncio.sleep(0)
        else:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._call.wait, timeout)
        return self.get(0)

    def cancel(self, terminate_containers: bool = False) -> None:
        """Ends the call: ``get`` raises RemoteError, the function gets InputCancellation.

        ``terminate_containers``: kill its worker, for a body that does not react.
        """
        self._call.cancel(terminate_containers)

    @staticmethod
    def gather(*calls: FunctionCall) -> list[Any]:
        """Returns the results in order. The first failure in that order is raised."""
        for call in calls:
            if not isinstance(call, FunctionCall):
                raise InvalidError(
                    f"[FunctionCall.gather] expected calls returned by .spawn(), got {type(call).__name__}; "
                    "write FunctionCall.gather(*calls)"
                )
        return [call.get() for call in calls]

    def __repr__(self) -> str:
        return f"FunctionCall({self.object_id!r}, function={self._name!r})"
