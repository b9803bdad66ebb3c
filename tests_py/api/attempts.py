"""Bodies that count on disk how often they are entered, and fail as often as they are told."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pathlib
import signal
import time
from typing import Any

import ionian
from ionian.exception import InputCancellation, InvalidError

app = ionian.App("attempts")
at_once = ionian.Retries(max_retries=2, initial_delay=0)


def enter(path: str) -> int:
    """What each body does first: one byte more in the file, also if it is killed at once afterwards.

    Returns how many there are then.
    """
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, b"x")
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def entered(path: Any) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


class DiesWhenSent:
    """A result that kills its worker while it is being sent."""

    def __reduce__(self) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_the_first_times(path: str, times: int) -> str:
    if enter(path) <= times:
        die()
    return "read"


class DiesWhenRead:
    """Kills the first processes that rebuild it."""

    def __init__(self, path: str, times: int) -> None:
        self.how = path, times

    def __reduce__(self) -> Any:
        return die_the_first_times, self.how


def act(how: str) -> Any:
    if how == "raises":
        raise KeyError("no such")
    if how == "is killed":
        die()
    if how == "leaves":
        os._exit(3)
    if how == "takes too long":
        time.sleep(1000)
    if how == "dies while it answers":
        return DiesWhenSent()
    if how == "cannot be sent":
        return (i for i in range(3))
    if how == "is used wrongly":
        raise InvalidError("the same each time")
    return how


@app.function()
def once(path: str, fails: int, how: str = "", argument: Any = None, nap: float = 0) -> Any:
    """Fails as ``how`` says while it has been entered at most ``fails`` times."""
    count = enter(path)
    time.sleep(nap)
    return count if count > fails else act(how)


@app.function(retries=at_once)
def thrice(path: str, fails: int, how: str = "", argument: Any = None, nap: float = 0) -> Any:
    return once.raw(path, fails, how, argument, nap)


@app.function(retries=at_once, timeout=0.4)
def thrice_in_time(path: str, fails: int, how: str) -> Any:
    return once.raw(path, fails, how)


@app.function(retries=at_once)
async def thrice_as_a_coroutine(path: str, fails: int, how: str) -> Any:
    await asyncio.sleep(0)
    return once.raw(path, fails, how)


@app.function(retries=ionian.Retries(max_retries=5, initial_delay=60))
def much_later(path: str) -> None:
    enter(path)
    raise KeyError("no such")


@app.function(retries=at_once)
def overwrites(path: str, array: Any) -> float:
    """Spoils its argument before it fails."""
    total = float(array.sum())
    array[:] = -1
    if enter(path) <= 2:
        raise KeyError("no such")
    return total


@app.function(gpu="A10G:2", retries=at_once)
@ionian.spmd(gather=True)
def ranks(path: str, fails: int, how: str) -> Any:
    """Rank 1 fails; each rank counts for itself."""
    count = enter(f"{path}.{ionian.rank()}")
    if ionian.rank() == 1 and count <= fails:
        return act(how)
    return count


@app.function(timeout=0.3, max_containers=1)
def cleans_up(path: str) -> None:
    try:
        time.sleep(1000)
    except InputCancellation:
        pathlib.Path(path).touch()
        raise


@app.function(timeout=0.3, max_containers=1)
def holds_the_gil(hold: bool) -> int:
    if hold:
        ctypes.PyDLL(None).sleep(1000)
    return os.getpid()


@app.function(max_containers=1)
def deaf(path: str) -> int:
    """Swallows every cancellation and goes on."""
    while path:
        pathlib.Path(path).touch()
        try:
            while True:
                time.sleep(0.01)
        except InputCancellation:
            pass
    return os.getpid()


@app.function(max_containers=1)
async def sleeps(path: str, seconds: float) -> str:
    try:
        pathlib.Path(path).touch()
        await asyncio.sleep(seconds)
        return "slept"
    except asyncio.CancelledError:
        pathlib.Path(path + ".cancelled").touch()
        raise


@app.function(max_containers=1)
def counts(path: str, seconds: float) -> int:
    count = enter(path)
    time.sleep(seconds)
    return count


@app.function(single_use_containers=True)
def fresh(_: Any = None) -> int:
    return os.getpid()
