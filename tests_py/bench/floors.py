"""What the kernel and the interpreter cost alone: the least that any design pays.

Measured from Python, so each is some 2 µs above what C would find (tests_cpp/bench/floor_bench).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import pickle
import select
import signal
import time

_SYS_FUTEX = {"x86_64": 202, "aarch64": 98}.get(os.uname().machine)
_FUTEX_WAIT, _FUTEX_WAKE = 0, 1
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Makes the kernel end this process when its parent ends, in whatever way."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Echo:
    """A forked child that answers at once. Make it before any thread is started."""

    def __init__(self) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            try:
                die_with_parent()
                self.answer()
            finally:
                os._exit(0)

    def answer(self) -> None:
        """In the child: answers for ever."""
        raise NotImplementedError

    def __call__(self) -> None:
        """One round trip."""
        raise NotImplementedError

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class PipeEcho(Echo):
    """64 bytes through one pipe and back through another."""

    def __init__(self) -> None:
        self._pipes = (*os.pipe(), *os.pipe())
        self._data = b"x" * 64
        super().__init__()

    def answer(self) -> None:
        while True:
            os.write(self._pipes[3], os.read(self._pipes[0], 64))

    def __call__(self) -> None:
        os.write(self._pipes[1], self._data)
        os.read(self._pipes[2], 64)

    def close(self) -> None:
        super().close()
        for fd in self._pipes:
            os.close(fd)


class FutexEcho(Echo):
    """The same over two words of shared memory, without spinning."""

    def __init__(self) -> None:
        if _SYS_FUTEX is None:
            raise OSError(f"the number of futex(2) on {os.uname().machine} is not known here")
        self._syscall = ctypes.CDLL(None).syscall
        self._memory = mmap.mmap(-1, 4096)  # shared with the child
        self._there = ctypes.c_uint32.from_buffer(self._memory, 0)
        self._back = ctypes.c_uint32.from_buffer(self._memory, 1024)
        self._count = 0
        super().__init__()

    def _wait(self, word: ctypes.c_uint32, seen: int) -> None:
        self._syscall(_SYS_FUTEX, ctypes.byref(word), _FUTEX_WAIT, seen, None, None, 0)

    def _wake(self, word: ctypes.c_uint32) -> None:
        self._syscall(_SYS_FUTEX, ctypes.byref(word), _FUTEX_WAKE, 1, None, None, 0)

    def answer(self) -> None:
        seen = 0
        while True:
            while self._there.value == seen:
                self._wait(self._there, seen)
            seen = self._there.value
            self._back.value = seen
            self._wake(self._back)

    def __call__(self) -> None:
        before = self._count
        self._count += 1
        self._there.value = self._count
        self._wake(self._there)
        while self._back.value != self._count:
            self._wait(self._back, before)


def pickling() -> float:
    """Returns the seconds that a no-op call spends in pickle: arguments and result, both ways."""
    rounds, samples = 2000, []
    for _ in range(9):
        begin = time.perf_counter()
        for _ in range(rounds):
            pickle.loads(pickle.dumps(((), {}), 5))
            pickle.loads(pickle.dumps(None, 5))
        samples.append((time.perf_counter() - begin) / rounds)
    return sorted(samples)[len(samples) // 2]


def fork_and_wait() -> float:
    """Returns the seconds from the fork of this process to the end of a child that does nothing."""
    begin = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return time.perf_counter() - begin


def kill_and_see() -> float:
    """Returns the seconds from SIGKILL to a readable pidfd, for a child as large as this process."""
    pid = os.fork()
    if pid == 0:
        die_with_parent()
        while True:
            time.sleep(60)
    fd = os.pidfd_open(pid)
    try:
        time.sleep(0.002)  # it sleeps by now
        begin = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        select.select([fd], [], [])
        return time.perf_counter() - begin
    finally:
        os.close(fd)
        os.waitpid(pid, 0)
