"""The worker: takes calls in its main thread, one after the other, and answers them."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from typing import Any

from . import _core, _runtime
from .exception import (
    DeserializationError,
    InputCancellation,
    InvalidError,
    LeaseDeadlockError,
    SerializationError,
)

#: Another attempt would fail the same way.
_FOR_GOOD = (
    InputCancellation,
    InvalidError,
    LeaseDeadlockError,
    SerializationError,
    DeserializationError,
)

Fresh = tuple[list[str], bytes]  # the command line of a worker, and the setup that it reads


def _leave(code: int) -> None:
    """Ends the process now. Python's own teardown is skipped: a forked CUDA context may hang in it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    os._exit(code)


def _exit_code(exc: SystemExit) -> int:
    if exc.code is None:
        return 0
    if isinstance(exc.code, int):
        return exc.code & 0xFF
    print(exc.code, file=sys.stderr)
    return 1


def _not_rebuilt(exc: BaseException) -> BaseException:
    if not isinstance(exc, Exception):
        return exc
    error = DeserializationError(
        f"the arguments arrived but cannot be rebuilt in the worker: {type(exc).__name__}: {exc}"
    )
    error.__cause__ = exc
    return error


def _install_cancellation(worker: _core.Worker) -> None:
    def on_cancel(signum: int, frame: object) -> None:
        if not worker.take_cancellation():
            return
        if _runtime.cancel_body is None:
            raise InputCancellation(_runtime.CANCELLED)
        _runtime.cancel_body()

    signal.signal(signal.SIGUSR1, on_cancel)


def reseed() -> None:
    """Forked workers must not share random numbers; a seed that the user set is kept."""
    random = sys.modules.get("numpy.random.mtrand")
    if random is None:
        return
    try:
        if (
            random._rand._bit_generator._seed_seq is not None
        ):  # None once numpy.random.seed was called
            random.seed()
    except AttributeError:
        pass


def run(worker: _core.Worker, load: Callable[[], None], fresh: Fresh | None) -> None:
    """Serves until told to end; never returns.

    ``load`` imports the user's code where it is not there yet. ``fresh``: how a rank is started
    where it cannot be forked.
    """
    from . import _rank
    from .function_spec import is_spmd, load_spec

    _install_cancellation(worker)
    setup = worker.setup()
    if is_spmd(setup):
        from ._leader import lead

        worker = lead(worker, pickle.loads(setup), fresh)
        reseed()
        _install_cancellation(worker)
        setup = worker.setup()
    _rank.enter()
    try:
        load()
        _runtime.in_worker = True  # only now: an app.run() that is met while loading ends it
        function = load_spec(setup)
    except BaseException as exc:
        import traceback

        text = "".join(traceback.format_exception(exc))
        worker.reply(_core.RAISED, text.encode(errors="replace"), None)
        _leave(1)
        return
    worker.reply(_core.RETURNED, b"", None)
    _serve(worker, function)


def _is_broken() -> bool:
    """Returns, after telling, whether CUDA is lost to this process: every further call of it would fail
    with the error of this one, so nobody else may get this worker."""
    broken = _core.cuda_broken()
    if broken:
        print(
            f"ionian: CUDA is lost to this worker ({broken}): it ends after this call, and the next "
            "call gets a fresh one",
            file=sys.stderr,
            flush=True,
        )
    return bool(broken)


def _serve(worker: _core.Worker, function: Callable[..., Any]) -> None:
    from .serialization import dumps, encode_exception, loads

    returned, raised, refused = _core.RETURNED, _core.RAISED, _core.REFUSED
    on_gpus = bool(os.environ.get("IONIAN_LEASED_GPUS"))
    forked: list[bool] = []  # by the function: such a child must not answer for us
    os.register_at_fork(after_in_child=lambda: forked.append(True))
    take, started, reply = worker.next, worker.started, worker.reply
    try:
        while (request := take()) is not None:
            try:
                args, kwargs = loads(request[0], request[1])
            except SystemExit as exc:
                _leave(_exit_code(exc))
            except BaseException as exc:
                broken = on_gpus and _is_broken()
                reply(refused, encode_exception(_not_rebuilt(exc)), None)
                if broken:
                    _leave(0)
                continue
            started()
            request = None  # not before: until the body is entered the call may yet go to another
            try:
                value = function(*args, **kwargs)
                if forked:
                    _leave(0)  # a child that the function forked has come back from it
                head, buffers = dumps(value, "the result")
                broken = on_gpus and _is_broken()  # the function may have swallowed the error
                reply(returned, head, buffers)
            except SystemExit as exc:
                _leave(_exit_code(exc))
            except BaseException as exc:
                if forked:
                    _leave(1)
                broken = on_gpus and _is_broken()
                code = refused if isinstance(exc, _FOR_GOOD) else raised
                reply(code, encode_exception(exc), None)
            if broken:
                _leave(0)
            # What the call leaves behind is freed before the wait, not by the next call.
            del args, kwargs
            value = head = buffers = None  # type: ignore[assignment]
    finally:
        _leave(0)
