"""The run that is killed: plain calls, a map, a gang, a process that hides, large arguments."""

from __future__ import annotations

import gc
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import ionian

GPUS = "A10G:4"
HIDES = "trap '' TERM HUP INT; while :; do sleep 1000; done"
LARGE = bytes(3 << 20)

app = ionian.App("kills")


@app.function(gpu="A10G")
def on_gpu(x: Any) -> Any:
    return x


@app.function()
def plain(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


@app.function(gpu="A10G:2")
@ionian.spmd(gather=True)
def gang(seconds: float) -> int:
    time.sleep(seconds)
    return ionian.rank()


@app.function(gpu="A10G")
def hide(folder: str, forks: bool) -> None:
    """Leaves a process in a session of its own that no polite signal ends."""
    if not forks:
        child = subprocess.Popen(
            ["/bin/sh", "-c", HIDES], start_new_session=True, stdin=subprocess.DEVNULL
        )
        pathlib.Path(folder, str(child.pid)).touch()
        return
    pid = os.fork()
    if pid != 0:
        pathlib.Path(folder, str(pid)).touch()
        return
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(1000)


@app.function(gpu=GPUS)
def everything() -> int:
    return len(os.environ["CUDA_VISIBLE_DEVICES"].split(","))


def client(folder: str, forks: bool, say: Callable[[str], None]) -> None:
    """Runs through every phase, whatever dies meanwhile. ``say`` hears of each phase and error."""
    _run(folder, forks, say)
    gc.collect()  # handles and tracebacks keep the run's descriptors
    say("ended")


def _run(folder: str, forks: bool, say: Callable[[str], None]) -> None:
    def attempt(call: Callable[[], Any]) -> None:
        try:
            call()
        except ionian.exception.Error as exc:
            say(f"error {time.monotonic()} {type(exc).__name__}")

    say("start")
    with app.run(simulate=GPUS, show_output=False):
        calls: list[Any] = []
        attempt(lambda: calls.append(hide.spawn(folder, forks)))
        attempt(lambda: calls.append(gang.spawn(0)))
        attempt(lambda: calls.append(on_gpu.spawn(1)))
        for call in calls:
            attempt(call.get)
        say("steady")
        until = time.monotonic() + 0.06
        while time.monotonic() < until:
            attempt(lambda: calls.append(gang.spawn(0.02)))
            attempt(lambda: plain.remote(0.02))
            attempt(lambda: list(on_gpu.map(range(8))))
            attempt(calls.pop().get if calls else lambda: None)
        say("transfer")
        until = time.monotonic() + 0.04
        while time.monotonic() < until:
            attempt(lambda: on_gpu.remote(LARGE))
        say("end")
