"""One run of an app: its executor, its launchers and pools, and what its workers print."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _core, _environment, _rank, _runtime, entry, function_spec, serialization
from .exception import ExecutionError
from .options import default_lease_timeout
from .ranks import spmd_of

if TYPE_CHECKING:
    from .app import App
    from .function import Function

_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LEADER_TIME = 10.0
_GRACE = 5.0  # for a body that was cancelled or ran out of time
_PACKAGE = os.path.dirname(os.path.abspath(__file__))

#: Set by the command line: the script it loaded, with the name it was loaded under.
script: tuple[str, str] | None = None

#: Called with (function, calls done, calls in all or None) while a map runs; None ends it.
Progress = Callable[[str, int, "int | None", bool], None]


def _plain(name: str) -> str:
    """Returns a name that can be shown and sent: a lone surrogate is no text."""
    return name.encode("utf-8", "backslashreplace").decode()


class Output:
    """Shows what workers print and what the run has to say. Replace it to show it differently."""

    def line(self, stream: str, label: str, text: str) -> None:
        """One whole line of a worker; ``label`` is "" while only one worker runs."""
        target = sys.stdout if stream == "stdout" else sys.stderr
        line = f"[{label}] {text}\n" if label else f"{text}\n"
        original = sys.__stdout__ if stream == "stdout" else sys.__stderr__
        if original is not None and target is original:
            # Past the buffer: another thread's print() may have written half a line into it.
            os.write(original.fileno(), line.encode(original.encoding, "backslashreplace"))
        else:
            target.write(line)
            target.flush()

    def notice(self, text: str) -> None:
        """A sentence about the run: what is waited for, what went wrong beside the calls."""
        sys.stderr.write(f"ionian: {text}\n")
        sys.stderr.flush()

    def progress(self, function: str, done: int, total: int | None, ended: bool) -> None:
        """A map has got this far."""


class Session:
    """Started by ``app.run()``, or by the first ``.remote()`` inside a worker."""

    def __init__(
        self,
        app: App,
        *,
        simulate: str | None = None,
        gpu_match: str | None = None,
        output: Output | None = None,
    ) -> None:
        held = os.environ.get("IONIAN_HELD_GPUS", "") if _runtime.in_worker else ""
        self.app = app
        self.output = output
        self._simulate = simulate
        self.match = gpu_match or os.environ.get("IONIAN_GPU_MATCH") or "upgrade"
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._pools: dict[int, tuple[Function, _core.Pool]] = {}
        self._launchers: dict[tuple[tuple[str, str], ...], int] = {}
        self.executor = _core.Executor(
            guardian=os.environ.get("IONIAN_GUARDIAN")
            or os.path.join(_PACKAGE, "_bin", "ionian-guardian"),
            app=_plain(app.name or ""),
            simulate=simulate,
            match=self.match,
            lock_dir=os.environ.get("IONIAN_LOCK_DIR", ""),
            held_by_ancestors=[uuid for uuid in held.split(",") if uuid],
            callers=os.environ.get("IONIAN_CALLERS", "").splitlines() if _runtime.in_worker else [],
        )
        self._closed = False
        self._reader = threading.Thread(target=self._read_events, name="ionian-output", daemon=True)
        self._reader.start()
        try:
            self._prepare()
        except BaseException:
            self.close(0)
            raise

    def _prepare(self) -> None:
        """Starts to import the user's code at once, and the workers that are to be kept."""
        functions = list(self.app.registered_functions.values())
        if not _runtime.in_worker and any(
            f.raw.__module__ == "__main__" and not function_spec.has_name(f.raw, False)
            for f in functions
        ):
            serialization.main_by_value = True
        for function in functions:
            self._launcher(function)
        for function in functions:
            if function.options.min_containers:
                self.pool(function)

    def _launcher(self, function: Function) -> int:
        env = tuple(sorted(function.options.env.items()))
        launcher = self._launchers.get(env)
        if launcher is None:
            launcher = self._start_launcher(dict(env))
            self._launchers[env] = launcher
        return launcher

    def _start_launcher(self, additions: dict[str, str]) -> int:
        modules: list[str] = []
        preload: set[str] = set()
        for function in self.app.registered_functions.values():
            if function_spec.has_name(function.raw, function.options.serialized):
                modules.append(function.raw.__module__)
            else:
                preload.update(function_spec.modules_used(function.raw))
        if script is not None:
            modules = [name for name in modules if name != script[1]]
        env, later = _environment.divide(_rank.outside(os.environ), additions)
        if self._simulate is not None:
            env["IONIAN_GPUS"] = self._simulate
        env["IONIAN_GPU_MATCH"] = self.match
        for name in _THREAD_LIMITS:
            if name not in later:
                env.setdefault(name, str(self._threads_each()))
        try:
            cwd = os.getcwd()
        except FileNotFoundError:
            cwd = ""
        setup = entry.describe(sorted(set(modules)), sorted(preload), script)
        start = f"import sys; sys.path.insert(0, {os.path.dirname(_PACKAGE)!r}); " + (
            "from ionian._launcher import main; main()"
        )
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        return self.executor.start_launcher(
            argv=[os.fsencode(sys.executable), *flags, "-c", start],
            # As bytes: what is not UTF-8 reaches the workers as it is.
            env=[os.fsencode(name) + b"=" + os.fsencode(value) for name, value in env.items()],
            cwd=os.fsencode(cwd),
            setup=pickle.dumps(setup | {"env": later}),
        )

    def _threads_each(self) -> int:
        """Returns how many threads a worker's numerical libraries should start: the processors are
        shared by one worker for each GPU, or for each processor where no function has a GPU."""
        processors = len(os.sched_getaffinity(0))
        if not any(f.options.gpu is not None for f in self.app.registered_functions.values()):
            return 1
        return max(1, processors // max(1, len(self.executor.inventory.devices)))

    def pool(self, function: Function) -> _core.Pool:
        """Returns the workers of ``function``, made at the first use. Raises UnsatisfiableError and
        LeaseDeadlockError."""
        self.check_process()
        with self._lock:
            if self._closed:
                raise ExecutionError(f"[{function.name}] the run has ended; open app.run() again")
            found = self._pools.get(id(function))
            if found is not None:
                return found[1]
            options = function.options
            setup = function_spec.make_spec(function.raw, function.name, options.serialized)
            leader_time = 0.0
            if (marked := spmd_of(function.raw)) is not None:
                setup = function_spec.make_spmd_spec(
                    setup,
                    _plain(function.name),
                    marked.gather,
                    options.timeout,
                    options.startup_timeout,
                )
                leader_time = _LEADER_TIME  # the leader keeps time, and knows where each rank is
            retries = options.retries
            pool = self.executor.create_pool(
                launcher=self._launcher(function),
                name=_plain(function.name),
                gpu=options.gpu,
                setup=setup,
                min_containers=options.min_containers,
                max_containers=options.max_containers,
                buffer_containers=options.buffer_containers,
                scaledown_window=options.scaledown_window,
                timeout=options.timeout + leader_time,
                startup_timeout=options.startup_timeout + leader_time,
                lease_timeout=options.lease_timeout or default_lease_timeout(),
                grace=_GRACE + leader_time,
                retries=(0, 1.0, 0.0, 0.0)
                if retries is None
                else (
                    retries.max_retries,
                    retries.backoff_coefficient,
                    retries.initial_delay,
                    retries.max_delay,
                ),
                single_use=options.single_use_containers,
            )
            self._pools[id(function)] = (function, pool)
            return pool

    def is_ours(self) -> bool:
        """Returns whether this process opened the run, and not one that forked it."""
        return os.getpid() == self._pid

    def forget(self) -> None:
        """Lets the functions go: their next call looks for a run again."""
        for function, _ in self._pools.values():
            function._forget()

    def check_process(self) -> None:
        if not self.is_ours():
            raise ExecutionError(
                f"[{self.app.name}] this run belongs to process {self._pid}, not to the child that was "
                f"forked from it ({os.getpid()}); open app.run() here"
            )

    def _read_events(self) -> None:
        while (event := self.executor.next_event()) is not None:
            output = self.output
            if output is None:
                continue
            text = event.text.decode("utf-8", "replace")
            try:
                if event.kind in ("stdout", "stderr"):
                    several = sum(pool.workers for _, pool in list(self._pools.values())) > 1
                    label = f"{event.pool} {event.worker}" if several and event.worker else ""
                    output.line(event.kind, label, text)
                else:
                    output.notice(f"{event.pool}: {text}" if event.pool else text)
            except Exception:
                pass  # a closed terminal must not stop the run

    def close(self, grace: float = 5.0) -> None:
        """Ends the run and everything it started. A Ctrl-C meanwhile kills what is left at once."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._closed = True
        closer = threading.Thread(target=self.executor.close, args=(grace,), name="ionian-close")
        closer.start()
        interrupted: KeyboardInterrupt | None = None
        while closer.is_alive():
            try:
                closer.join(0.05)
            except KeyboardInterrupt as exc:
                interrupted = exc
                self.executor.stop()
        self._reader.join()
        if interrupted is not None:
            raise interrupted

    def progress(self, function: str, done: int, total: Any, ended: bool) -> None:
        if self.output is not None:
            self.output.progress(function, done, total, ended)
