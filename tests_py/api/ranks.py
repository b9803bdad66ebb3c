"""Functions that run once for each GPU, for test_spmd.py."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import subprocess
import sys
import time

import ionian

app = ionian.App("ranks")


@app.function(gpu="A10G:3")
@ionian.spmd(gather=True)
def who(value: object) -> dict[str, object]:
    return {
        "rank": ionian.rank(),
        "world_size": ionian.world_size(),
        "local_rank": ionian.local_rank(),
        "env": {name: os.environ.get(name) for name in TORCHRUN},
        "visible": os.environ["CUDA_VISIBLE_DEVICES"],
        "pid": os.getpid(),
        "value": value,
    }


TORCHRUN = (
    "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK MASTER_ADDR MASTER_PORT IONIAN_RANK"
).split()


@app.function(gpu="A10G:2")
@ionian.spmd()
def first(value: object) -> object:
    return (ionian.rank(), value)


@app.function(gpu="A10G:2")
@ionian.spmd()
async def coroutine() -> int:
    await asyncio.sleep(0)
    return ionian.world_size()


@app.function(gpu="A10G:2")
@ionian.spmd(gather=True)
def arrays(size: int) -> object:
    import numpy

    return numpy.full(size, ionian.rank(), numpy.int64)


@app.function(gpu="A10G:2", timeout=1.0)
@ionian.spmd()
def fail(how: str, rank: int) -> str:
    """Does what ``how`` says in one rank; the others wait, as in a collective, where they would."""
    if ionian.rank() != rank:
        if how not in ("nothing", "all raise"):
            time.sleep(60)
        if how == "all raise":
            raise KeyError(f"rank {ionian.rank()}")
        return "done"
    if how in ("raise", "all raise"):
        raise ValueError("this rank says no")
    if how == "kill":
        print("a last word")
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "exit":
        os._exit(0)
    if how == "sys.exit":
        sys.exit(3)
    if how == "skip":
        return "early"
    return "done"


@app.function(gpu="A10G:2")
@ionian.spmd()
def sleep(directory: str) -> None:
    pathlib.Path(directory, str(ionian.rank())).touch()
    try:
        time.sleep(60)
    except ionian.exception.InputCancellation:
        pathlib.Path(directory, f"cancelled {ionian.rank()}").touch()
        raise


@app.function(gpu="A10G:2")
@ionian.spmd()
def leave_a_child(directory: str) -> None:
    """Each rank starts a program that hides in a session of its own."""
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    pathlib.Path(directory, str(ionian.rank())).write_text(str(child.pid))


@app.function(gpu="A10G:2")
@ionian.spmd()
def talk(lines: int) -> None:
    for i in range(lines):
        print(f"line {i}")


@app.function(gpu="A10G:2")
@ionian.spmd(gather=True)
def nested() -> object:
    """A rank starts a run of its own, which must not take itself for a rank."""
    inner = ionian.App("inner")

    @inner.function(serialized=True)
    def environment() -> object:
        return os.environ.get("RANK"), ionian.world_size()

    if ionian.rank() == 1:
        return None
    with inner.run():
        return environment.remote()
