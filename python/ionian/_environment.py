"""How the variables of ``env=`` reach workers: where other processes cannot read them.

What a process is started with stays readable in ``/proc/PID/environ`` and is copied into every program
that starts it. So the values travel in the launcher's setup, over a socket, and are set in the worker
itself. Only what the loader, the C library and the interpreter read at their start goes the old way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_AT_START = ("LD_", "PYTHON", "MALLOC_", "GLIBC_", "LC_", "LANG", "TZ", "CUDA_", "IONIAN_")

#: Names, not values, of what was set in this process after its start. Nested runs read it, and the
#: executor, which leaves these out of its guardian's environment.
_NAMES = "IONIAN_PRIVATE_ENV"


def _private_names() -> list[str]:
    return [name for name in os.environ.get(_NAMES, "").split("=") if name]


def divide(
    environ: Mapping[str, str], env: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Returns what a launcher is started with, and what it sets itself, of this process's ``environ``
    and a function's ``env``."""
    later = {name: environ[name] for name in _private_names() if name in environ}
    later |= {name: value for name, value in env.items() if not name.startswith(_AT_START)}
    start = {name: value for name, value in environ.items() if name not in later and name != _NAMES}
    return start | {name: value for name, value in env.items() if name not in later}, later


def set_later(later: Mapping[str, str]) -> None:
    """In a launcher or a fresh worker: sets what ``divide`` kept back. What the guardian has set since,
    such as the GPUs of a lease, stays."""
    for name, value in later.items():
        os.environ.setdefault(name, value)
    if later:
        os.environ[_NAMES] = "=".join(later)  # no name has this character


def startable() -> dict[str, str]:
    """Returns this process's environment for a program that is given the setup too."""
    names = {*_private_names(), _NAMES}
    return {name: value for name, value in os.environ.items() if name not in names}
