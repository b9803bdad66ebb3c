"""What a run shows on a terminal: lines of the workers, and a bar for each map."""

from __future__ import annotations

import sys
import threading
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..runner import Output

_REDRAW = 0.1  # seconds


class TerminalOutput(Output):
    """Plain lines; on a terminal also a bar for a map that is slow enough to be watched."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._watched = self._console.is_terminal and not quiet
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._tasks: dict[str, int] = {}
        self._begun: dict[str, float] = {}
        self._drawn = 0.0

    def line(self, stream: str, label: str, text: str) -> None:
        if not self._quiet:
            super().line(stream, label, text)

    def progress(self, function: str, done: int, total: int | None, ended: bool) -> None:
        if not self._watched:
            return
        now = time.monotonic()
        with self._lock:
            begun = self._begun.setdefault(function, now)
            if ended:
                self._end(function)
            elif now - begun > _REDRAW and now - self._drawn > _REDRAW:
                self._drawn = now
                self._draw(function, done, total)

    def _draw(self, function: str, done: int, total: int | None) -> None:
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._progress.start()
        if function not in self._tasks:
            self._tasks[function] = self._progress.add_task(function, total=total)
        self._progress.update(self._tasks[function], completed=done)  # type: ignore[arg-type]

    def _end(self, function: str) -> None:
        self._begun.pop(function, None)
        task = self._tasks.pop(function, None)
        if self._progress is None or task is None:
            return
        self._progress.remove_task(task)  # type: ignore[arg-type]
        if not self._tasks:
            self._progress.stop()
            self._progress = None


def say(text: str) -> None:
    """Prints a sentence of ours beside the program's own output."""
    print(f"ionian: {text}", file=sys.stderr, flush=True)
