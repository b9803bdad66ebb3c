"""The audit: what a run has left behind. Every test ends with it, and so does every kill.

An ``Audit`` is made before the run and asked afterwards. It looks for processes, locks, descriptors,
files, System V objects and zombies; how soon they are gone is the asker's bound.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import pathlib
import time
from collections.abc import Callable, Iterable
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36
#: Shared by all runs of a machine on purpose.
_SHARED = {"ionian-locks-v1"}


def wait_for(condition: Callable[[], Any], seconds: float = 20, pause: float = 0.002) -> Any:
    """Returns the first true value of ``condition()``, or its last value after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(pause)
    return value


def read(path: str) -> bytes:
    """Returns the content of a file of /proc, b"" if its process is gone."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def pids_of(lock_dir: str) -> list[int]:
    """Returns the processes whose environment names that lock directory, never our own."""
    wanted, own = f"IONIAN_LOCK_DIR={lock_dir}".encode(), os.getpid()
    return [
        pid for pid in pids() if pid != own and wanted in read(f"/proc/{pid}/environ").split(b"\0")
    ]


def describe(pid: int) -> str:
    command = read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace")
    return f"{pid}: {command}"


def processes_of(lock_dir: str) -> list[str]:
    """Returns the processes whose environment names that lock directory: all that a test started."""
    return [describe(pid) for pid in pids_of(lock_dir)]


def open_descriptors(pid: int | str = "self") -> dict[str, str]:
    """Returns what a process holds open of ours: memory, locks and eventfds."""
    found = {}
    try:
        entries = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return {}
    for fd in entries:
        try:
            found[fd] = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
    return {fd: target for fd, target in found.items() if "ionian" in target or "eventfd" in target}


def stat_of(pid: int) -> tuple[str, int] | None:
    """Returns a process's state letter and its parent, None if there is no such process."""
    fields = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return (fields[0].decode(), int(fields[1])) if len(fields) > 1 else None


def children(pid: int | None = None) -> list[int]:
    """Returns the children of a process, ours by default; zombies are among them."""
    pid = pid or os.getpid()
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    for task in tasks:
        found += map(int, read(f"/proc/{pid}/task/{task}/children").split())
    return found


def held_locks(lock_dir: str) -> list[str]:
    """Returns the files of a lock directory that somebody holds: GPUs, places in the queue, the book."""
    held = []
    for path in pathlib.Path(lock_dir).glob("*"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held.append(path.name)
        finally:
            os.close(fd)
    return held


def become_subreaper() -> None:
    """Orphans come to this process instead of init: so none can hide, and all can be reaped."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap() -> None:
    """Waits for every child that has ended. Only for who starts no children that others wait for."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def _listing(folders: Iterable[str]) -> set[str]:
    found = set()
    for folder in folders:
        for path in pathlib.Path(folder).rglob("*"):
            found.add(str(path))
    shared = pathlib.Path("/dev/shm")
    if shared.is_dir():
        found.update(
            str(path)
            for path in shared.iterdir()
            if "ionian" in path.name and path.name not in _SHARED
        )
    return found


def _system_v() -> set[tuple[str, bytes]]:
    """Returns the System V objects that processes of ours have made: (kind, id)."""
    found = set()
    uid = str(os.geteuid()).encode()
    for kind, column in (("shm", 7), ("sem", 4), ("msg", 7)):
        for line in read(f"/proc/sysvipc/{kind}").splitlines()[1:]:
            fields = line.split()
            if len(fields) > column and fields[column] == uid:
                found.add((kind, fields[1]))
    return found


class Audit:
    """What there was before a run, to compare with afterwards.

    ``folders`` are listed whole: give those that nobody else writes to. ``children`` also counts
    processes that this one has become the parent of (see ``become_subreaper``).
    """

    def __init__(
        self, lock_dir: str, folders: Iterable[str] = (), *, count_children: bool = False
    ) -> None:
        self.lock_dir = lock_dir
        self.folders = list(folders)
        self.count_children = count_children
        self.descriptors = open_descriptors()
        self.files = _listing(self.folders)
        self.system_v = _system_v()

    def left(self, spare: Iterable[int] = ()) -> list[str]:
        """Returns what is left, a sentence each; the processes ``spare`` may go on."""
        spared = set(spare)
        if self.count_children:
            reap()
        found = [f"process {describe(pid)}" for pid in pids_of(self.lock_dir) if pid not in spared]
        if self.count_children:
            found += [f"child {describe(pid)}" for pid in children() if pid not in spared]
        if found:
            return found  # the rest may go with it
        if not spared:
            found += [f"lock {name} is held" for name in held_locks(self.lock_dir)]
        now = open_descriptors()
        found += [
            f"descriptor {fd} is {now[fd]}" for fd in now if self.descriptors.get(fd) != now[fd]
        ]
        found += [f"file {path}" for path in sorted(_listing(self.folders) - self.files)]
        found += [f"System V {kind} {key!r}" for kind, key in _system_v() - self.system_v]
        return found

    def wait(self, seconds: float = 5, spare: Iterable[int] = ()) -> list[str]:
        """Returns what is still left after so many seconds, [] as soon as nothing is."""
        spared = list(spare)
        return [] if wait_for(lambda: not self.left(spared), seconds, 0.01) else self.left(spared)


def resident_bytes() -> int:
    """Returns how much memory this process has resident."""
    return int(read("/proc/self/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
