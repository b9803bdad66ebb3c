"""Functions for the tests: a module that workers can import by its path."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import ionian

app = ionian.App("tests")


class NeedsTwo(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


class TextRaises(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class ReduceRaises(Exception):
    def __reduce__(self) -> Any:
        raise RuntimeError("cannot be pickled")


class KillsWhenRead:
    def __reduce__(self) -> Any:
        return os._exit, (7,)


@app.function()
def echo(value: Any = None, **kwargs: Any) -> Any:
    return (value, kwargs) if kwargs else value


@app.function(gpu="any")
def on_gpu(value: Any = None) -> tuple[str, Any]:
    return os.environ["CUDA_VISIBLE_DEVICES"], value


@app.function(gpu="any:2")
def on_two() -> list[str]:
    return os.environ["CUDA_VISIBLE_DEVICES"].split(",")


@app.function()
def visible() -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


@app.function()
def pid() -> int:
    return os.getpid()


@app.function()
def in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@app.function()
def say(text: str, stream: str = "stdout") -> None:
    print(text, file=getattr(sys, stream))


@app.function()
def fail(how: str) -> None:
    if how == "key":
        raise KeyError("no such", 1)
    if how == "needs two":
        raise NeedsTwo(1, 2)
    if how == "text raises":
        raise TextRaises
    if how == "reduce raises":
        raise ReduceRaises("odd")
    if how == "cycle":
        first, second = ValueError("first"), ValueError("second")
        first.__cause__, second.__cause__ = second, first
        raise first
    if how == "huge":
        raise ValueError("x" * 5_000_000)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "recursion":
        fail.raw(how)


@app.function()
def die(how: str) -> str:
    if how == "sys.exit":
        sys.exit(3)
    if how == "sys.exit text":
        sys.exit("a last word")
    if how == "_exit":
        os._exit(0)
    if how == "segv":
        ctypes.string_at(0)
    if how == "abort":
        os.abort()
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return how


@app.function()
def leave_a_daemon() -> int:
    code = "import os, time; os.setsid() if os.getpid() != os.getsid(0) else None; time.sleep(1000)"
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True).pid


@app.function()
def returns(what: str) -> Any:
    if what == "generator":
        return (i for i in range(3))
    if what == "file":
        return {"log": [0, open(os.devnull)]}
    if what == "lock":
        return {"state": {"lock": threading.Lock()}}
    return None


@app.function(timeout=0.3)
def limited(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@app.function()
def wait_for(path: str, started: str = "") -> str:
    """Waits until the file exists."""
    if started:
        pathlib.Path(started).touch()
    while not pathlib.Path(path).exists():
        time.sleep(0.002)
    return "done"


@app.function()
def until_cancelled(note: str) -> None:
    pathlib.Path(note).write_text("running")
    try:
        while True:
            time.sleep(0.01)
    except ionian.exception.InputCancellation:
        pathlib.Path(note).write_text("cancelled")
        raise


@app.function()
async def later(value: Any) -> Any:
    await asyncio.sleep(0.001)
    return value


@app.function()
def calls_another(value: int) -> int:
    return int(echo.remote(value)) + 1


@app.function(gpu="any")
def calls_on_gpu() -> tuple[str, str]:
    return os.environ["CUDA_VISIBLE_DEVICES"], on_gpu.remote()[0]


@app.function(gpu="any:2")
def calls_for_its_own_gpus() -> Any:
    return on_gpu.remote()


@app.function(env={"COLOUR": "blue", "EMPTY": ""})
def environment(name: str) -> str | None:
    return os.environ.get(name)
