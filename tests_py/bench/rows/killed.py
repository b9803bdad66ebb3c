"""Row 10: kill -9 of a worker in a call. How soon the caller knows, and how soon it is served again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import ionian

from .. import floors, workload
from ..measure import BLOCKS, Series, quantile, wait_until
from ..result import Effort, Line, line

BROKEN, FRESH = "PPE", "a new PPE"
_ERROR, _AGAIN = "kill -9 of a worker in a call: error raised", "the same: the pool answers again"


class Killer:
    """Kills the process that writes its pid to ``path``, a moment after it is there."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="ionian-bench-")
        self.path = os.path.join(self._directory.name, "pid")
        self.at = 0.0  # when it struck
        self._thread = threading.Thread(target=self._strike)
        self._thread.start()

    def _strike(self) -> None:
        wait_until(lambda: os.path.exists(self.path), "the victim ran")
        with open(self.path) as file:
            pid = int(file.read())
        time.sleep(0.01)  # the caller waits, the victim sleeps
        self.at = time.perf_counter()
        os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        self._thread.join()
        self._directory.cleanup()


def _kill(
    call: Callable[[str], Any], error: type[BaseException], again: Callable[[], Any]
) -> tuple[float, float]:
    """Returns the seconds from the kill to the error, and to the next answer."""
    killer = Killer()
    try:
        try:
            call(killer.path)
        except error:
            raised = time.perf_counter()
        else:
            raise AssertionError("the call of a killed worker returned")
        again()
        answered = time.perf_counter()
    finally:
        killer.close()
    return raised - killer.at, answered - killer.at


def _ours(function: Any) -> tuple[float, float]:
    return _kill(function.remote, ionian.exception.WorkerDiedError, lambda: function.remote(""))


def _peer() -> tuple[float, float]:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=context) as peer:
        peer.submit(workload.hang, "").result()

        def again() -> None:
            try:
                peer.submit(workload.hang, "")
            except BrokenProcessPool:
                pass
            else:
                raise AssertionError("the peer's pool lived on; compare it with ours directly")
            with ProcessPoolExecutor(1, mp_context=context) as fresh:
                fresh.submit(workload.hang, "").result()

        return _kill(
            lambda path: peer.submit(workload.hang, path).result(), BrokenProcessPool, again
        )


def _series(function: Any, count: int, blocks: int = BLOCKS) -> tuple[Series, Series]:
    error = Series(others={BROKEN: [], "pidfd": []})
    again = Series(others={FRESH: []})

    _ours(function)
    for _ in range(blocks):
        for each in (error.others[BROKEN], error.others["pidfd"], again.others[FRESH]):
            each.append([])
        for mine, mine_again in ((error.ours, again.ours), (error.again, again.again)):
            theirs = [_peer() for _ in range(count // 2)]
            error.others[BROKEN][-1].extend(raised for raised, _ in theirs)
            again.others[FRESH][-1].extend(answered for _, answered in theirs)
            error.others["pidfd"][-1].extend(floors.kill_and_see() for _ in range(count // 2))
            both = [_ours(function) for _ in range(count)]
            mine.append([raised for raised, _ in both])
            mine_again.append([answered for _, answered in both])
    return error, again


def run(effort: Effort, pinning: str) -> list[Line]:
    count = effort.pick(16, 4)
    lines = []
    with workload.victims.run(simulate="A10G:1"):
        for function, kind in (
            (workload.remote_hang, ""),
            (workload.remote_hang_gpu, ", on a GPU (simulated)"),
        ):
            function.remote("")
            error, again = _series(function, count)
            raised = line(
                10, _ERROR + kind, error, BROKEN, floor=quantile(error.all("pidfd"), 0.5),
                floor_name="SIGKILL to a readable pidfd", goal="≤ 150 µs",
            )  # fmt: skip
            answered = line(
                10, _AGAIN + kind, again, FRESH, goal="≤ 2 ms", least="usable", least_reached=True,
                note="the peer's pool is dead: its figure is that of a new one",
            )  # fmt: skip
            assert raised.ours is not None and answered.ours is not None
            raised.reached = raised.ours[0] <= 150e-6
            answered.reached = answered.ours[0] <= 2e-3
            lines += [raised, answered]
    return lines
