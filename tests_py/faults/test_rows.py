"""Rows of the fault matrix that no other test covers. Each ends with the audit of conftest.py."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap

import fault_functions as f
import pytest
from audit import pids_of, read, stat_of, wait_for

from ionian import exception

ROOT = pathlib.Path(__file__).parents[2]
GPUS = "A10G:4"


@contextlib.contextmanager
def running(simulate: str = GPUS):
    """A run that ends at once, and after which a fresh client has every GPU."""
    with f.app.run(simulate=simulate, show_output=False):
        yield
    with f.app.run(simulate=GPUS, show_output=False):
        assert f.everything.remote() == 4


def guardian_of(world: pathlib.Path) -> int:
    found = [
        pid
        for pid in pids_of(str(world / "locks"))
        if read(f"/proc/{pid}/comm").startswith(b"ionian-guardian")
    ]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("number", [signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP])
def test_row04_crash_signals(number):
    with running():
        with pytest.raises(exception.WorkerDiedError) as raised:
            f.crash.remote(int(number))
        assert raised.value.signal == number and raised.value.started
        assert f.on_gpu.remote(1) == 1


def test_row09_a_daemon_that_keeps_stdout(world):
    with running():
        worker = f.hold_stdout.remote()
        os.kill(worker, signal.SIGKILL)
        assert f.on_gpu.remote(1) == 1


RESISTANCE = (
    "ignores signals",
    "blocks signals",
    "clears PDEATHSIG",
    "holds the interpreter",
    "is traced",
)


@pytest.mark.parametrize("how", RESISTANCE)
def test_row11_a_worker_that_resists_is_ended(how, world):
    marker = world / "marker"
    with running():
        call = f.resist.spawn(how, str(marker))
        assert wait_for(marker.exists)
        call.cancel(terminate_containers=True)
        with pytest.raises(exception.Error):
            call.get(timeout=60)
        assert f.on_gpu.remote(1) == 1


CLIENT = """
    import os, signal, sys
    sys.path.insert(0, {here!r})
    import fault_functions as f
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # a shell's background job ignores it
    with f.app.run(simulate="A10G:4", show_output=False):
        call = f.wait_for_file.spawn({never!r}, {started!r})
        while not os.path.exists({started!r}):
            pass
        {end}
"""

ENDS = {
    "os._exit": ("os._exit(5)", 5),
    "SIGQUIT": ("os.kill(os.getpid(), signal.SIGQUIT)", -signal.SIGQUIT),
    "abort": ("os.abort()", -signal.SIGABRT),
    "exec": ("os.execv('/bin/true', ['true'])", 0),
    "an exception": ("raise SystemExit(4)", 4),
}


@pytest.mark.parametrize("how", ENDS)
def test_row15_a_client_that_ends_without_a_word(how, world):
    end, status = ENDS[how]
    code = textwrap.dedent(CLIENT).format(
        here=os.path.dirname(__file__),
        never=str(world / "never"),
        started=str(world / "s"),
        end=end,
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == status
    assert wait_for(lambda: not pids_of(str(world / "locks")))
    with running():
        pass


def test_row19_a_stopped_guardian_is_waited_for(world):
    with running():
        assert f.on_gpu.remote(1) == 1
        guardian = guardian_of(world)
        os.kill(guardian, signal.SIGSTOP)
        try:
            assert f.on_gpu.remote(2) == 2, "a warm worker needs no guardian"
            call = f.everything.spawn()  # this one does
            with pytest.raises(TimeoutError):
                call.get(timeout=0.2)
        finally:
            os.kill(guardian, signal.SIGCONT)
        assert call.get(timeout=60) == 4


def test_row25_a_limit_on_file_size(world):
    """Memory of a memfd counts as a file: the run cannot be, and says so instead of dying."""
    code = textwrap.dedent(
        f"""
        import resource, sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import fault_functions as f
        from ionian import exception
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
        try:
            with f.app.run(simulate="A10G:4", show_output=False):
                f.on_gpu.remote(1)
        except exception.Error as exc:
            print(type(exc).__name__)
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ResourceExhaustedError"], done.stderr
    with running():
        pass


@pytest.mark.parametrize("size", f.gangs)
def test_row40_a_rank_fails(size):
    causes = {
        "raise": ValueError,
        "kill": exception.WorkerDiedError,
        "exit": exception.WorkerDiedError,
    }
    with running():
        for rank in range(size):
            for how, cause in causes.items():
                with pytest.raises(exception.RankError) as raised:
                    f.gangs[size].remote(how, rank)
                assert raised.value.rank == rank and isinstance(raised.value.__cause__, cause)
        assert f.gangs[size].remote("nothing", 0) == size


@pytest.mark.parametrize("size", f.hasty)
def test_row40_a_rank_that_does_not_come_back(size):
    with running():
        for rank in range(size):
            with pytest.raises(exception.FunctionTimeoutError) as raised:
                f.hasty[size].remote("stop", rank)
            assert f"rank {rank} was at:\n(no stack: the process is stopped" in str(raised.value)
        assert f.gangs[size].remote("nothing", 0) == size


@pytest.mark.parametrize("size", f.gangs)
def test_row40_a_rank_that_is_late(size):
    with running():
        for rank in range(size):
            assert f.gangs[size].remote("starts late", rank) == size


@pytest.mark.parametrize("size", range(1, 5))
def test_row40_ranks_that_cannot_be_imported(size, world, monkeypatch):
    monkeypatch.syspath_prepend(str(world))
    name = f"only_here_{size}"
    (world / f"{name}.py").write_text(
        textwrap.dedent(
            f"""
            import ionian
            if not ionian.is_local():
                raise ImportError("only here")
            app = ionian.App("broken gang")
            @app.function(gpu="A10G:{size}")
            @ionian.spmd()
            def body(): pass
            """
        )
    )
    module = __import__(name)
    with module.app.run(simulate=GPUS, show_output=False):
        with pytest.raises(exception.WorkerStartError, match="only here"):
            module.body.remote()


def test_row43_the_guardian_of_a_gang_is_killed(world):
    with running():
        call = f.gangs[2].spawn(f"touch {world}/rank", 0)
        assert wait_for(lambda: (world / "rank0").exists() and (world / "rank1").exists())
        os.kill(guardian_of(world), signal.SIGKILL)
        with pytest.raises(exception.WorkerDiedError, match="guardian"):
            call.get(timeout=60)
        assert f.gangs[2].remote("nothing", 0) == 2


#: Where the wall clock is read, for people to see and nothing to be decided by.
SHOWN = {
    "cpp/include/ionian/lease.hpp",
    "cpp/src/lease/lease.cpp",
    "cpp/src/lease/explain.cpp",
    "cpp/src/lease/lease_record.hpp",
    "python/ionian/cli",
}
WALL_CLOCK = re.compile(
    r"system_clock|CLOCK_REALTIME|gettimeofday|time\.time\(|datetime\.now|\btime\(nullptr"
)


def test_row44_no_wall_clock_decides():
    read_at = []
    for folder in ("cpp", "bindings", "python"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix not in (".cpp", ".hpp", ".py"):
                continue
            name = str(path.relative_to(ROOT))
            if WALL_CLOCK.search(path.read_text()) and not any(name.startswith(s) for s in SHOWN):
                read_at.append(name)
    assert not read_at, "steady clocks alone may decide"


def test_row44_everything_stopped_goes_on(world):
    """As when a laptop sleeps: nobody is taken for dead, and the call is answered."""
    release, started = world / "release", world / "started"
    with running():
        call = f.wait_for_file.spawn(str(release), str(started))
        assert wait_for(started.exists)
        stopped = pids_of(str(world / "locks"))
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        assert wait_for(lambda: all((stat_of(pid) or "?")[0] == "T" for pid in stopped))
        release.touch()
        with pytest.raises(TimeoutError):
            call.get(timeout=0.1)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        assert call.get(timeout=60) == str(release)
