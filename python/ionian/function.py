"""A function that runs in a worker of its own, on the GPUs that it asks for."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from . import _core, serialization
from .call import FunctionCall
from .exception import InvalidError
from .options import Options, check_function

if TYPE_CHECKING:
    from .app import App

__all__ = ["Function", "FunctionCall", "Options", "check_function"]

_RETURNED = _core.RETURNED


class Method(Protocol):
    """A method with a form for coroutines beside it: ``f.remote(x)``, ``await f.remote.aio(x)``."""

    aio: Callable[..., Any]

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any: ...


class Function:
    """Made by ``@app.function()``. Every method can be called from any thread.

    ``remote(*args, **kwargs)``: run it in a worker and return its result, or raise what it raised.
    ``spawn(...)``: the same without waiting; returns a FunctionCall.
    ``map(*iterables, kwargs={}, order_outputs=True, return_exceptions=False)``: one call for each
    tuple of inputs, over all workers at once. ``starmap(iterable)``: the tuples themselves.
    ``for_each(*iterables)``: for the effect. ``local(...)``: run it here.
    ``with_options(...)``: the same function with other options, and workers of its own.
    """

    remote: Method
    spawn: Method
    map: Method
    starmap: Method
    for_each: Method

    def __init__(self, app: App, raw: Callable[..., Any], name: str, options: Options) -> None:
        self.app = app
        self.raw = raw
        self.name = name
        self.options = options
        self._pool: _core.Pool | None = None
        self._call: Callable[..., tuple[int, Any, list[Any]]] | None = None
        self._base: Function | None = None  # of a variant: what with_options() was called on first
        self._variants: dict[tuple[Any, ...], Function] = {}
        functools.update_wrapper(self, raw, updated=())  # its attributes must not replace ours
        self._make_methods()

    def _make_methods(self) -> None:
        # Closures instead of methods: `f.remote(x)` is the hot path, and each attribute counts.
        dumps, decode = serialization.dumps_call, serialization.decode_exception
        loads, name = serialization.loads_result, self.name

        def remote(*args: Any, **kwargs: Any) -> Any:
            call = self._call or self._open()
            head, buffers = dumps(args, kwargs)
            code, head, buffers = call(head, buffers)
            if code == _RETURNED:
                return loads(head, buffers, name)
            raise decode(head, name)

        from . import parallel_map

        self.remote = _with_aio(remote, self._remote_aio)
        self.spawn = _with_aio(self._spawn, self._spawn_aio)
        self.map = _with_aio(
            functools.partial(parallel_map.map, self), functools.partial(parallel_map.map_aio, self)
        )
        self.starmap = _with_aio(
            functools.partial(parallel_map.starmap, self),
            functools.partial(parallel_map.starmap_aio, self),
        )
        self.for_each = _with_aio(
            functools.partial(parallel_map.for_each, self),
            functools.partial(parallel_map.for_each_aio, self),
        )

    def _open(self) -> Callable[..., tuple[int, Any, list[Any]]]:
        call = self.pool().call
        self._call = call
        return call

    def pool(self) -> _core.Pool:
        """Returns the function's workers in the open run. Raises ExecutionError if none is open,
        UnsatisfiableError if this machine can never run it."""
        if self._pool is None:
            self._pool = self.app.session(self.name).pool(self)
        return self._pool

    def _forget(self) -> None:
        self._pool = None
        self._call = None

    def with_options(self, **options: Any) -> Function:
        """Returns a handle whose calls run in workers of their own, with other options than declared:
        ``gpu``, ``env``, ``retries``, ``timeout``, ``max_containers``, ``buffer_containers``,
        ``scaledown_window``. Equal options share their workers. None, 0 and {} change nothing, except
        that ``retries=0`` means none.

        Raises InvalidError, GpuRequestError.
        """
        changed = self.options.with_options(options)
        base = self._base or self
        made = base._variants.get(changed.key())
        if made is None:
            made = Function(self.app, self.raw, self.name, changed)
            made._base = base
            base._variants[changed.key()] = made
        return made

    def local(self, /, *args: Any, **kwargs: Any) -> Any:
        """Runs the function in this process; a coroutine function returns its coroutine."""
        return self.raw(*args, **kwargs)

    def explain(self) -> _core.LeaseExplanation:
        """Returns why the function's GPUs are not granted now: ``print(f.explain())``.

        In an open run whose call waits it is that request's place in the queue; else what would become
        of a call made now. Raises InvalidError if the function has no ``gpu=``.
        """
        from .machine import explain

        if self.options.gpu is None:
            raise InvalidError(f"[{self.name}] it has no gpu=, so it waits for none")
        return explain(self.options.gpu, self.app._session, self.app.name or "", self.name)

    def _spawn(self, /, *args: Any, **kwargs: Any) -> FunctionCall:
        head, buffers = serialization.dumps_call(args, kwargs)
        call = self.pool().submit(head, buffers)
        return FunctionCall(call, self.name, self.app.session(self.name).executor.run_id)

    async def _remote_aio(self, /, *args: Any, **kwargs: Any) -> Any:
        from . import aio

        return await aio.remote(self, args, kwargs)

    async def _spawn_aio(self, /, *args: Any, **kwargs: Any) -> FunctionCall:
        return self._spawn(*args, **kwargs)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        raise InvalidError(
            f"[{self.name}] calling it directly does not say where it should run\n"
            f"next: write {self.name}.remote(...) for a worker with its GPUs, {self.name}.local(...) to run it here"
        )

    def __get__(self, instance: object, owner: type | None = None) -> Function:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        from .function_spec import has_name

        options = self.options
        changeable = {
            "gpu": options.gpu.texts() if options.gpu is not None else None,
            "env": options.env,
            "timeout": options.timeout,
            "lease_timeout": options.lease_timeout or None,
            "retries": options.retries,
        }
        if self._base is not None:
            limits = {
                "max_containers": options.max_containers,
                "buffer_containers": options.buffer_containers,
                "scaledown_window": options.scaledown_window,
            }
            return _variant, (self._base, changeable | limits)
        if has_name(self.raw, options.serialized):
            return _by_name, (self.raw.__module__, self.raw.__qualname__, self.app.name, self.name)
        changeable["startup_timeout"] = options.startup_timeout
        changeable["serialized"] = options.serialized
        return _by_value, (self.app.name, self.raw, self.name, changeable)

    def __repr__(self) -> str:
        gpu = f", gpu={self.options.gpu}" if self.options.gpu is not None else ""
        return f"Function({self.name!r}{gpu})"


def _with_aio(sync: Callable[..., Any], aio: Callable[..., Any]) -> Method:
    if not isinstance(sync, functools.partial) and hasattr(sync, "__self__"):
        sync = functools.partial(sync)  # attributes cannot be set on a bound method
    sync.aio = aio  # type: ignore[attr-defined]
    return sync  # type: ignore[return-value]


def _by_name(module: str, qualname: str, app: str | None, name: str) -> Any:
    from .function_spec import _find

    importlib.import_module(module)
    return _find(module, qualname, name)


def _variant(base: Function, options: dict[str, Any]) -> Function:
    return base.with_options(**options)


def _by_value(
    app_name: str | None, raw: Callable[..., Any], name: str, options: dict[str, Any]
) -> Function:
    from .app import App

    return Function(App(app_name), raw, name, Options.parse(options))
