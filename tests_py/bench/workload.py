"""What ours and the peers run: the very same functions, in a module that imports nothing heavy."""

from __future__ import annotations

import os
import time

import ionian

app = ionian.App("bench")


def noop(tell_pid: bool = False) -> int | None:
    """Does nothing; says where it runs when it is asked."""
    return os.getpid() if tell_pid else None


def hang(path: str) -> int | None:
    """Writes its pid to ``path`` and never returns; with "" it is a no-op."""
    if not path:
        return None
    with open(path + ".part", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".part", path)  # whoever sees the file sees the pid in it
    while True:
        time.sleep(60)


def settle(what: object) -> object:
    """Returns what it was given."""
    return what


remote_noop = app.function(max_containers=1)(noop)
remote_settle = app.function(max_containers=1)(settle)

victims = ionian.App("bench-victims")
remote_hang = victims.function(name="hang", max_containers=1)(hang)
remote_hang_gpu = victims.function(name="hang on a GPU", gpu="any", max_containers=1)(hang)
