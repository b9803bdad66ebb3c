"""``ionian run``: load a script, start its app, run its entry point or one function."""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import sys
import traceback
from typing import Any

import click

from ..app import App
from ..exception import Error, RemoteTraceback
from ..function import Function
from .arguments import command_for
from .reference import Reference, Runnable, choose
from .terminal import TerminalOutput, say

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    short_help="Run a script's entry point or one of its functions.",
)
@click.option("-m", "is_module", is_flag=True, help="REF is a module, as in `python -m`.")
@click.option("--simulate", metavar="GPUS", help='Run on simulated GPUs, e.g. "A10G:2,H100:8".')
@click.option(
    "--gpu-match",
    type=click.Choice(["exact", "upgrade", "at-least", "pretend"]),
    help="How strictly gpu= binds to the GPUs of this machine. [default: upgrade]",
)
@click.option(
    "--split",
    type=click.IntRange(1, 16),
    metavar="N",
    help="Offer each GPU as N logical ones, to try a program for many GPUs on one.",
)
@click.option(
    "--lease-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Wait at most this long for GPUs. [default: as long as it takes]",
)
@click.option("-q", "--quiet", is_flag=True, help="Show nothing of what workers print.")
@click.option(
    "-w",
    "--write-result",
    type=click.Path(dir_okay=False, writable=True),
    help="Write the result, a text or bytes, to this file.",
)
@click.argument("ref")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def run(
    is_module: bool,
    simulate: str | None,
    gpu_match: str | None,
    split: int | None,
    lease_timeout: float | None,
    quiet: bool,
    write_result: str | None,
    ref: str,
    args: tuple[str, ...],
) -> None:
    """Run REF: script.py, script.py::function, or with -m a module.

    Words after REF are the entry point's own: its parameters are options.

    \b
    ionian run digits.py --rounds 4
    ionian run digits.py::train --width 64 --lr 0.1
    ionian run digits.py --help
    ionian run -m package.module::function
    ionian run --simulate H100:2 digits.py
    ionian run --split 2 train.py
    """
    reference = Reference.parse(ref, is_module)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Whole lines, also under PYTHONUNBUFFERED, in order with the lines of the workers.
        sys.stdout.reconfigure(line_buffering=True, write_through=False)
    # In the environment, so that all of the script means the same GPUs, `ionian.inventory()` too.
    if simulate is not None:
        os.environ["IONIAN_GPUS"] = simulate
    if gpu_match is not None:
        os.environ["IONIAN_GPU_MATCH"] = gpu_match
    if split is not None:
        os.environ["IONIAN_SPLIT"] = str(split)
    if lease_timeout is not None:
        os.environ["IONIAN_LEASE_TIMEOUT"] = repr(lease_timeout)
    if os.environ.get("IONIAN_SPLIT", "1") not in ("", "1"):
        say(
            f"each GPU is offered as {os.environ['IONIAN_SPLIT']} logical ones: right results, "
            "but times and memory mean nothing here"
        )
    sys.argv = [reference.target, *args]
    try:
        module = reference.load()
    except (click.ClickException, Error, SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        raise _failed(exc) from None
    app, runnable = choose(module, reference)

    def start(positional: list[Any], named: dict[str, Any]) -> None:
        result = _run(app, runnable, positional, named, quiet)
        _deliver(result, write_result)

    raw = runnable.raw
    command = command_for(runnable.name, raw, start)
    command.main(list(args), prog_name=f"ionian run {ref}", standalone_mode=False)


def _run(
    app: App,
    runnable: Runnable,
    positional: list[Any],
    named: dict[str, Any],
    quiet: bool,
) -> Any:
    output = TerminalOutput(quiet)
    try:
        with app.run(output=output):
            if isinstance(runnable, Function):
                return runnable.remote(*positional, **named)
            result = runnable.raw(*positional, **named)
            return asyncio.run(result) if inspect.iscoroutine(result) else result
    except (Error, SystemExit, KeyboardInterrupt, click.ClickException):
        raise
    except BaseException as exc:
        raise _failed(exc) from None


def _deliver(result: Any, path: str | None) -> None:
    if path is None:
        if result is not None:
            print(result)
        return
    if not isinstance(result, (str, bytes)):
        raise click.ClickException(
            f"--write-result needs a text or bytes; the result is of type {type(result).__name__}"
        )
    with open(path, "wb") as file:
        file.write(result.encode() if isinstance(result, str) else result)
    say(f"result written to {path}")


class _Failed(click.ClickException):
    """The user's own code failed: its traceback, without our frames."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._text = text

    def show(self, file: Any = None) -> None:
        click.echo(self._text, err=True, nl=False)


def _failed(exc: BaseException) -> _Failed:
    text = ""
    if isinstance(exc.__cause__, RemoteTraceback):
        text = exc.__cause__.text.rstrip() + "\n\nwhich ended the call here:\n\n"
    elif exc.__cause__ is not None or exc.__context__ is not None:
        return _Failed("".join(traceback.format_exception(exc)))
    frames = [
        frame
        for frame in traceback.extract_tb(exc.__traceback__)
        if not frame.filename.startswith(_OURS)
        and not frame.filename.startswith("<frozen importlib")
    ]
    local = "".join(
        ["Traceback (most recent call last):\n"] * bool(frames) + traceback.format_list(frames)
    )
    return _Failed(text + local + "".join(traceback.format_exception_only(type(exc), exc)))
