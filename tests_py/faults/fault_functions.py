"""Functions for the fault matrix: a module that workers can import by its path."""

from __future__ import annotations

import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import ionian

_PR_SET_PDEATHSIG = 1

app = ionian.App("matrix")


@app.function(gpu="A10G")
def on_gpu(value: Any = None) -> Any:
    return value


@app.function(gpu="A10G:4")
def everything() -> int:
    return len(os.environ["CUDA_VISIBLE_DEVICES"].split(","))


@app.function(gpu="A10G")
def crash(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


@app.function(gpu="A10G")
def resist(how: str, marker: str) -> None:
    """Makes itself hard to end, says so, and stays."""
    if how == "ignores signals":
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(each, signal.SIG_IGN)
    if how == "blocks signals":
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    if how == "clears PDEATHSIG":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)
    if how == "holds the interpreter":
        pathlib.Path(marker).touch()
        ctypes.PyDLL(None).sleep(1000)
    if how == "is traced":
        ctypes.CDLL(None).ptrace(0, 0, 0, 0)  # PTRACE_TRACEME: by whoever is the parent
    if how == "closes everything":
        os.closerange(3, 4096)
    pathlib.Path(marker).touch()
    while True:
        try:
            time.sleep(1000)
        except BaseException:
            pass


@app.function(gpu="A10G")
def hold_stdout() -> int:
    """Leaves a daemon, forked twice, that keeps this worker's stdout open."""
    code = (
        "import os, sys, time\n"
        "os.fork() and os._exit(0)\n"
        "os.setsid()\n"
        "sys.stdout.write(str(os.getpid())); sys.stdout.flush()\n"
        "os.fork() and os._exit(0)\n"
        "time.sleep(1000)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    return os.getpid()


@app.function()
def wait_for_file(path: str, started: str = "") -> str:
    if started:
        pathlib.Path(started).touch()
    while not os.path.exists(path):
        time.sleep(0.002)
    return path


def fail(how: str, rank: int) -> int:
    """One rank does what ``how`` says; the others wait, as in a collective."""
    if how == "nothing":
        return ionian.world_size()
    if how.startswith("touch "):
        pathlib.Path(how[6:] + str(ionian.rank())).touch()
        time.sleep(60)
    if ionian.rank() != rank:
        if how == "starts late":
            return ionian.world_size()
        time.sleep(60)
    if how == "raise":
        raise ValueError("this rank says no")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "exit":
        os._exit(0)
    if how == "starts late":
        time.sleep(0.3)
    return ionian.world_size()


def gang(size: int, timeout: float) -> Any:
    return app.function(gpu=f"A10G:{size}", name=f"gang {size} {timeout}", timeout=timeout)(
        ionian.spmd()(fail)
    )


gangs = {size: gang(size, 30.0) for size in range(1, 5)}
hasty = {size: gang(size, 0.4) for size in range(1, 5)}
