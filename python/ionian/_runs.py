"""The runs of this machine, as the kernel and their guardians show them.

A guardian is a process named ``ionian-guardian``. Its environment says the run, and a memfd among its
descriptors what it does; both only to processes of its own user. Of others' we see that they are there.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

_NAME = "ionian-guardian"
_STATUS = "/memfd:ionian-run"
_VARIABLE = b"IONIAN_RUN="


@dataclass(frozen=True)
class Worker:
    number: int
    pid: int  #: 0 before it is started
    state: str  #: "waiting" for GPUs, "draining", "starting", "running", "ended"
    gpus: tuple[str, ...]
    function: str


@dataclass(frozen=True)
class Run:
    id: str  #: "" if it is another user's
    guardian: int
    client: int
    uid: int
    since_ns: int
    app: str = ""
    inside: str = ""  #: the run that it is nested in
    workers: list[Worker] = field(default_factory=list)

    @property
    def user(self) -> str:
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"


def find_runs() -> list[Run]:
    """Returns the runs that live now, the oldest first."""
    found = [run for pid in _pids() if (run := run_of(pid)) is not None]
    return sorted(found, key=lambda run: (run.since_ns, run.guardian))


def run_of(guardian: int) -> Run | None:
    """Returns the run of that process, None if it is no guardian (any more)."""
    try:
        if _read(guardian, "comm").strip() != _NAME.encode():
            return None
        after_name = _read(guardian, "stat").rpartition(b")")[2].split()
        uid = os.stat(f"/proc/{guardian}").st_uid
    except OSError:
        return None
    if after_name[0] == b"Z":
        return None
    run = Run("", guardian, int(after_name[1]), uid, _since_ns(int(after_name[19])))
    try:
        path = next(
            (
                entry.removeprefix(_VARIABLE).decode()
                for entry in _read(guardian, "environ").split(b"\0")
                if entry.startswith(_VARIABLE)
            ),
            "",
        )
        inside, _, own = path.rpartition("/")
        status = _status(guardian)
    except OSError:
        return run
    app = next((line[4:] for line in status if line.startswith("app ")), "")
    workers = [_worker(line) for line in status if line.startswith("worker ")]
    return Run(
        own, guardian, run.client, uid, run.since_ns, app, inside.rpartition("/")[2], workers
    )


def processes_of(run: str) -> list[int]:
    """Returns the processes that carry the run's id in their environment, as far as we may look."""
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError):
            for entry in _read(pid, "environ").split(b"\0"):
                if entry.startswith(_VARIABLE):
                    if run.encode() in entry.removeprefix(_VARIABLE).split(b"/"):
                        found.append(pid)
                    break
    return found


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def _since_ns(start_ticks: int) -> int:
    since_boot = start_ticks / os.sysconf("SC_CLK_TCK")
    return time.time_ns() - int((time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot) * 1e9)


def _status(guardian: int) -> list[str]:
    folder = f"/proc/{guardian}/fd"
    for fd in os.listdir(folder):
        try:
            if not os.readlink(f"{folder}/{fd}").startswith(_STATUS):
                continue
            for _ in range(100):  # it is being written now and then
                with open(f"{folder}/{fd}", "rb") as file:
                    lines = file.read().decode("utf-8", "replace").splitlines()
                if lines and lines[-1] == "end":
                    return lines
        except FileNotFoundError:
            continue
    return []


def _worker(line: str) -> Worker:
    _, number, pid, state, gpus, *function = line.split(" ", 5)
    uuids = () if gpus == "-" else tuple(gpus.split(","))
    return Worker(int(number), int(pid), state, uuids, function[0] if function else "")
