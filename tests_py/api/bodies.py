"""More functions for the tests: unusual definitions, and bodies that do what a body should not."""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import ionian

app = ionian.App("bodies")


def wait_until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Returns the first true value of ``condition()``; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)
    return value


# ---- unusual definitions ---------------------------------------------------------------------------


def plain(x: int) -> int:
    return x


def twice(function: Callable[[int], int]) -> Callable[[int], int]:
    @functools.wraps(function)
    def wrapper(x: int) -> int:
        return 2 * function(x)

    return wrapper


# Their names lead to `plain`, which is another function.
doubled = app.function(name="doubled")(twice(plain))
plainly = app.function(name="plainly")(plain)

in_a_loop = []
for i in range(3):

    @app.function(name=f"adds {i}")
    def adds(x: int, i: int = i) -> int:
        return x + i

    in_a_loop.append(adds)


@app.function()
@twice
def decorated_twice(x: int) -> int:
    return x + 1


@app.function()
def factorial(n: int) -> int:
    return 1 if n <= 1 else n * int(factorial.remote(n - 1))


@app.function()
def takes_any_name(self: int, function: int, args: int, kwargs: int) -> list[int]:
    return [self, function, args, kwargs]


@app.function()
async def loop_id() -> int:
    await asyncio.sleep(0)
    return id(asyncio.get_running_loop())


@app.function()
async def fails_later() -> None:
    await asyncio.sleep(0)
    raise KeyError("later")


@app.function(gpu="any")
def plus_one_on_gpu(x: int) -> int:
    return x + 1


@app.function(gpu="any")
def double_on_gpu(x: int) -> int:
    return x * 2


# ---- workers ---------------------------------------------------------------------------------------


@app.function(max_containers=1)
def alone(seconds: float = 0) -> int:
    time.sleep(seconds)
    return os.getpid()


@app.function(scaledown_window=0.05)
def soon_gone() -> int:
    return os.getpid()


@app.function(buffer_containers=1)
def with_a_spare(path: str) -> None:
    wait_until(pathlib.Path(path).exists)


@app.function(max_containers=1)
def touch(path: str) -> str:
    pathlib.Path(path).touch()
    return path


@app.function(max_containers=1)
def plain_remote(x: int) -> int:
    return x


@app.function(max_containers=1)
def size_of(array: Any) -> int:
    return int(array.size)


# ---- bodies ----------------------------------------------------------------------------------------


def square(x: int) -> int:
    return x * x


@app.function(max_containers=1)
def misbehave(how: str) -> Any:
    if how == "fork and return in both":
        return os.fork() > 0 or "a child answered"
    if how == "close all descriptors":
        os.closerange(3, 4096)
    if how == "close the streams":
        sys.stdout.close()
        os.close(1)
        os.close(2)
    if how == "block every signal":
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    if how == "ignore SIGTERM":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how == "leave a thread":
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    if how == "change the directory":
        os.chdir("/")
    if how == "clear the environment":
        os.environ.clear()
    if how == "write garbage":
        os.write(1, bytes(range(256)) * 100)
    if how == "read stdin":
        return sys.stdin.read()
    return how


@app.function(max_containers=1)
def replace_itself() -> None:
    os.execv("/bin/true", ["true"])


@app.function(max_containers=1)
def swallow_cancellation(note: str) -> str:
    pathlib.Path(note).touch()
    try:
        time.sleep(1000)
    except ionian.exception.InputCancellation:
        pass
    return "swallowed"


@app.function(max_containers=1)
def squares(method: str) -> list[int]:
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(square, range(4))


@app.function(max_containers=1)
def kill_launcher() -> int:
    launcher = os.getppid()
    os.kill(launcher, signal.SIGKILL)
    return launcher


# ---- exceptions ------------------------------------------------------------------------------------


class OwnBase(BaseException):
    pass


class EvilText(Exception):
    """Its text cannot be had, and `except Exception` does not stop what comes instead."""

    def __str__(self) -> str:
        raise OwnBase

    __repr__ = __str__

    def __reduce__(self) -> Any:
        raise SystemExit(4)


@app.function(max_containers=1)
def throw(how: str) -> None:
    if how == "evil text":
        raise EvilText
    if how == "base":
        raise OwnBase("own", 1)
    if how == "stop iteration":
        raise StopIteration("enough")
    if how == "cancelled":
        raise asyncio.CancelledError
    if how == "timeout":
        raise TimeoutError("its own")
    if how == "ours":
        raise ionian.exception.InvalidError("ours")
    if how == "large":
        raise ValueError("kept", b"x" * 1_000_000)
    if how == "long chain":
        failure = ValueError("deepest")
        for _ in range(3000):
            outer = ValueError("outer")
            outer.__cause__ = failure
            failure = outer
        raise failure
    if how == "lone surrogate":
        raise ValueError("\ud800")


# ---- output ----------------------------------------------------------------------------------------


@app.function(max_containers=1)
def write(data: bytes, fd: int = 1) -> None:
    while data:
        data = data[os.write(fd, data) :]


@app.function()
def say_when_both_run(mine: str, other: str, text: str) -> None:
    pathlib.Path(mine).touch()
    wait_until(pathlib.Path(other).exists)
    print(text)
