"""How a worker finds a function: by the name it was defined under, or carried by value."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import pickle
import sys
import types
from collections.abc import Callable
from typing import Any

from . import _runtime, entry
from .exception import InputCancellation, InvalidError, SerializationError


def has_name(raw: Callable[..., Any], serialized: bool) -> bool:
    """Returns whether another process can find ``raw`` by its module and name."""
    module = sys.modules.get(raw.__module__)
    if serialized or module is None or "<" in raw.__qualname__:
        return False
    if raw.__module__ == "__main__":
        return entry.main_source() is not None
    if hasattr(module, entry.SCRIPT_MARK) or raw.__module__ == entry.ALIAS:
        return True
    try:
        spec = importlib.util.find_spec(raw.__module__)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin == getattr(module, "__file__", None)


def modules_used(raw: Callable[..., Any]) -> list[str]:
    """Returns the modules that the globals of ``raw`` name: worth importing before workers fork."""
    code = getattr(raw, "__code__", None)
    names = code.co_names if code is not None else ()
    used = [raw.__globals__.get(name) for name in names] if code is not None else []
    return sorted({value.__name__ for value in used if isinstance(value, types.ModuleType)})


def is_spmd(spec: bytes) -> bool:
    """Returns whether ``spec`` is to be run by several ranks."""
    return bool(pickle.loads(spec)[0] == "spmd")


def make_spmd_spec(
    spec: bytes, name: str, gather: bool, timeout: float, startup_timeout: float
) -> bytes:
    """Returns what the leader of a gang needs; ``spec`` goes to each of its ranks."""
    options = {"gather": gather, "timeout": timeout, "startup_timeout": startup_timeout}
    return pickle.dumps(("spmd", options, spec, name))


def make_spec(raw: Callable[..., Any], name: str, serialized: bool) -> bytes:
    """Returns what ``load_spec`` needs. Raises SerializationError for a closure over what cannot go."""
    if has_name(raw, serialized):
        return pickle.dumps(("name", raw.__module__, raw.__qualname__, name))
    import cloudpickle

    module = sys.modules.get(raw.__module__)
    by_value = module is not None and module.__name__ not in ("__main__", "builtins")
    if by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        return pickle.dumps(("value", cloudpickle.dumps(raw), "", name))
    except Exception as exc:
        raise SerializationError(
            f"[{name}] the function has no name that a worker could import, and cannot be sent by value: "
            f"{type(exc).__name__}: {exc}\nnext: define it at the top of a module, or pass what it closes "
            "over as arguments"
        ) from exc
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)


def _find(module_name: str, qualname: str, name: str) -> Any:
    module = sys.modules.get(module_name)
    if module is None:
        module = importlib.import_module(module_name)
    # The app knows which function it decorated; the name in the module can mean something else now.
    found: Any = _registered(module, qualname, name)
    if found is not None:
        return found
    found = module
    try:
        for part in qualname.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise InvalidError(
            f"[{name}] the worker imported {module_name} but found no {qualname} there\n"
            'next: define functions at the top of the module, not under `if __name__ == "__main__":`'
        ) from None
    return found


def _registered(module: types.ModuleType, qualname: str, name: str) -> Any:
    from .app import App

    for app in App.all():
        function = app.registered_functions.get(name)
        if function is None or function.raw.__qualname__ != qualname:
            continue
        if sys.modules.get(function.raw.__module__) is module:
            return function
    return None


def load_spec(spec: bytes) -> Callable[..., Any]:
    """In a worker: returns the function as a plain callable. Coroutine functions run to their end on
    one event loop that lives as long as the worker; cancelled, they get asyncio's CancelledError."""
    how, first, second, name = pickle.loads(spec)
    found = pickle.loads(first) if how == "value" else _find(first, second, name)
    raw: Callable[..., Any] = getattr(found, "raw", found)
    if not inspect.iscoroutinefunction(raw):
        return raw
    loop = asyncio.new_event_loop()

    def run(*args: Any, **kwargs: Any) -> Any:
        task = loop.create_task(raw(*args, **kwargs))
        cancelled: list[bool] = []

        def cancel() -> None:
            cancelled.append(True)
            loop.call_soon_threadsafe(task.cancel)

        _runtime.cancel_body = cancel
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            if not cancelled:
                raise  # the body's own
            raise InputCancellation(_runtime.CANCELLED) from None
        finally:
            _runtime.cancel_body = None

    return run
