"""The machine that the figures were taken on, and what the bench left behind on it."""

from __future__ import annotations

import os
import platform
import sys

#: In the environment of every process that the bench starts.
MARK = "IONIAN_BENCH"


def describe() -> dict[str, str | int]:
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {sys.version.split()[0]}",
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for each in file:
                if each.startswith(("model name", "Model")):
                    return each.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def marked(value: str) -> list[int]:
    """Returns the processes, zombies and ourselves left out, that were started with our mark."""
    wanted, found = f"{MARK}={value}".encode(), []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if wanted in file.read().split(b"\0"):
                    found.append(int(entry))
        except OSError:
            continue  # it has ended, or is not ours
    return found
