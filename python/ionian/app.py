"""An app: functions, an entry point, and the run that they share."""

from __future__ import annotations

import inspect
import threading
import warnings
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _runtime
from .exception import ExecutionError, InvalidError

if TYPE_CHECKING:
    from .function import Function
    from .runner import Output, Session


class LocalEntrypoint:
    """A function that ``ionian run`` starts in the calling process."""

    def __init__(self, raw: Callable[..., Any], name: str) -> None:
        self.raw = raw
        self.name = name
        self.__doc__ = raw.__doc__
        self.__name__ = name
        self.__module__ = raw.__module__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.raw(*args, **kwargs)

    def __repr__(self) -> str:
        return f"LocalEntrypoint({self.name!r})"


_apps: weakref.WeakSet[App] = weakref.WeakSet()


class App:
    """Functions that run together. Make one at the top of a module; decorate functions with it."""

    def __init__(self, name: str | None = None) -> None:
        if name is not None and not isinstance(name, str):
            raise InvalidError(
                f"[App] invalid value for `name`: expected a string, got {type(name).__name__}"
            )
        self._name = name
        _apps.add(self)
        self._session: Session | None = None
        self._lock = threading.Lock()
        self.registered_functions: dict[str, Function] = {}
        self.registered_entrypoints: dict[str, LocalEntrypoint] = {}

    @staticmethod
    def all() -> list[App]:
        """Returns every app of this process."""
        return list(_apps)

    @property
    def name(self) -> str | None:
        return self._name

    def __reduce__(self) -> tuple[Any, ...]:
        return App, (self._name,)

    def __repr__(self) -> str:
        return f"App({self._name!r})"

    def function(self, *args: Any, **options: Any) -> Callable[[Callable[..., Any]], Function]:
        """Makes a function of this app. All options are keywords:

        ``gpu``: what it runs on: "A10G", "H100:8", ["H100", "A100-80GB:2"], "any"; None for CPUs.
        ``name``: its name in the app. ``env``: environment variables of its workers; the values
        appear in no process's arguments or ``/proc/PID/environ``, so they may be secrets.
        ``timeout``: seconds that one attempt of a call may take. ``startup_timeout``: seconds that a
        worker may take to import and to be ready; by default as many. ``lease_timeout``: seconds that
        a call may wait for GPUs, then LeaseTimeoutError says who holds them. ``retries``: how often a
        call that failed is tried again, 1 s apart; or ionian.Retries(...). ``min_containers``,
        ``max_containers``, ``buffer_containers``: workers kept, allowed, and started ahead under load.
        ``scaledown_window``: seconds after which an idle worker ends. ``single_use_containers``: a
        fresh worker for each call.
        ``serialized``: send the function by value, so that it can be nested.

        Raises InvalidError here, not later, for a bad option; GpuRequestError for a bad ``gpu``.
        """
        from .function import Function, Options, check_function

        if args:
            if callable(args[0]):
                raise InvalidError(
                    "[app.function] did you forget parentheses? Write `@app.function()`."
                )
            raise InvalidError(
                '[app.function] takes keywords only, e.g. `@app.function(gpu="A10G")`'
            )
        name = options.pop("name", None)
        if name is not None and not isinstance(name, str):
            raise InvalidError(
                f"[app.function] expected name= to be a string, got {type(name).__name__}"
            )
        checked = Options.parse(options)

        def decorate(raw: Callable[..., Any]) -> Function:
            check_function(raw, checked)
            if isinstance(raw, Function):
                raw = raw.raw
            made = Function(self, raw, name or raw.__qualname__.replace(".<locals>", ""), checked)
            if made.name in self.registered_functions and not _runtime.remote:
                warnings.warn(
                    f"[{self.name}] a second function named {made.name!r} replaces the first; "
                    "give one of them name=",
                    stacklevel=2,
                )
            self.registered_functions[made.name] = made
            return made

        return decorate

    def local_entrypoint(
        self, *args: Any, name: str | None = None
    ) -> Callable[[Callable[..., Any]], LocalEntrypoint]:
        """Makes the function that ``ionian run`` starts here; its parameters become options."""
        if args:
            raise InvalidError(
                "[app.local_entrypoint] did you forget parentheses? Write `@app.local_entrypoint()`."
            )

        def decorate(raw: Callable[..., Any]) -> LocalEntrypoint:
            if not inspect.isfunction(raw):
                raise InvalidError(
                    f"[app.local_entrypoint] expected a function, got {type(raw).__name__}"
                )
            made = LocalEntrypoint(raw, name or raw.__qualname__)
            if made.name in self.registered_entrypoints:
                raise InvalidError(
                    f"[{self.name}] there is an entry point named {made.name!r} already"
                )
            self.registered_entrypoints[made.name] = made
            return made

        return decorate

    def run(
        self,
        *,
        simulate: str | None = None,
        gpu_match: str | None = None,
        show_output: bool = True,
        output: Output | None = None,
    ) -> Run:
        """Returns the context in which ``.remote()`` works; ``with`` and ``async with`` both do.

        ``simulate``: run on simulated GPUs, e.g. "A10G:2"; None means what IONIAN_GPUS says.
        ``gpu_match``: how strictly ``gpu=`` binds: "exact", "upgrade", "at-least", "pretend".
        ``show_output``: whether what workers print appears here.
        """
        return Run(self, simulate, gpu_match, show_output, output)

    def session(self, origin: str) -> Session:
        """Returns the run that is open. Raises ExecutionError that says what to write if none is."""
        session = self._session
        if session is not None:
            return session
        if _runtime.in_worker:
            with self._lock:
                if self._session is None:
                    from .runner import Output, Session

                    self._session = Session(self, output=Output())  # ends with this worker
                return self._session
        raise ExecutionError(
            f"[{origin}] the app is not running\nnext: start it with `ionian run`, or write\n"
            "    with app.run():\n"
            f"        {origin}.remote(...)"
        )


class Run:
    """Made by ``App.run``."""

    def __init__(
        self,
        app: App,
        simulate: str | None,
        gpu_match: str | None,
        show_output: bool,
        output: Output | None,
    ) -> None:
        self._app = app
        self._simulate = simulate
        self._gpu_match = gpu_match
        self._show_output = show_output
        self._output = output

    def __enter__(self) -> App:
        if _runtime.remote and not _runtime.in_worker:
            raise _runtime.ReachedRun
        from .runner import Output, Session

        app = self._app
        with app._lock:
            if app._session is not None and not app._session.is_ours():
                app._session.forget()  # of the process that forked this one
                app._session = None
            if app._session is not None:
                raise ExecutionError(f"[{app.name}] app.run() is open already; one run at a time")
            output = self._output or (Output() if self._show_output else None)
            app._session = Session(
                app, simulate=self._simulate, gpu_match=self._gpu_match, output=output
            )
        return app

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        app = self._app
        session, app._session = app._session, None
        if session is not None:
            session.forget()
            interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
            session.close(0.0 if interrupted else 5.0)

    async def __aenter__(self) -> App:
        from . import aio

        return await aio.in_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        from . import aio

        await aio.in_thread(self.__exit__, kind, exc, tb)
