"""The launcher: imports the user's code once and forks a warm worker for each order.

Started by the guardian as ``python -m ionian._launcher``; with ``--worker`` it becomes one worker
itself, for code that cannot be forked because CUDA or threads were started while it was imported.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
import threading
import traceback
import warnings

from . import _core, _environment, _runtime

_SETUP_FD = 7  # Worker::kSetupFd


def _prepare_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True, errors="backslashreplace")


def _why_not_fork(module: str) -> str:
    """Returns "" if workers may be forked, else the reason, naming the module."""
    cuda = _core.cuda_initialised()
    if cuda:
        libraries = [
            name for name in ("torch", "cupy", "jax", "tensorflow", "numba") if name in sys.modules
        ]
        hint = f" ({', '.join(libraries)} is loaded)" if libraries else ""
        return (
            f"{cuda} while {module} was imported{hint}; a CUDA context does not survive fork. "
            "Move such calls, e.g. torch.cuda.is_available(), from the top of the module into the function"
        )
    others = [
        thread.name for thread in threading.enumerate() if thread is not threading.main_thread()
    ]
    if others:
        return f"{module} started threads while it was imported ({', '.join(others[:3])}); fork copies only one"
    return ""


def _load(setup: bytes) -> None:
    from .entry import load_main

    description = pickle.loads(setup)
    _environment.set_later(description.pop("env"))
    load_main(description)


def _become_worker() -> None:
    from ._worker import run

    chunks = []
    while chunk := os.read(_SETUP_FD, 1 << 16):
        chunks.append(chunk)
    os.close(_SETUP_FD)
    setup = b"".join(chunks)
    run(_core.Worker.from_inherited(), lambda: _load(setup), (sys.orig_argv, setup))


def _fork(launcher: _core.Launcher, order: _core.WorkerOrder) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # native threads that know how to fork
        try:
            pid = os.fork()
        except OSError as error:  # no process or no memory is left: perhaps there is for the next
            launcher.refused(order.worker, f"fork: {error.strerror}")
            return
    if pid != 0:
        launcher.forked(order.worker, pid)
        return
    try:
        from ._worker import reseed, run

        launcher.forget()
        for entry in order.env:
            name, _, value = entry.partition("=")
            os.environ[name] = value
        worker = order.become()
        reseed()
        run(worker, lambda: None, None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def main() -> None:
    _runtime.remote = True
    _prepare_streams()
    if "--worker" in sys.argv[1:]:
        _become_worker()
        return
    launcher = _core.Launcher()
    setup = launcher.setup()
    if setup is None:
        return
    try:
        _load(setup)
    except BaseException:
        launcher.failed(traceback.format_exc())
        return
    from . import _worker, function_spec, serialization  # noqa: F401  loaded once, for every worker

    reason = _why_not_fork(str(pickle.loads(setup)["name"]))
    gc.collect()
    gc.freeze()  # the collector's headers stay shared with the workers
    launcher.ready(not reason, reason)
    while (order := launcher.next()) is not None:
        _fork(launcher, order)
    os._exit(0)


if __name__ == "__main__":
    main()
