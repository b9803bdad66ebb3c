"""What must not be left when a test ends."""

from __future__ import annotations

import os
import pathlib


def processes_of(lock_dir: str) -> list[str]:
    """Returns the processes whose environment names that lock directory: all that a test started."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            environ = pathlib.Path("/proc", entry, "environ").read_bytes()
            command = pathlib.Path("/proc", entry, "cmdline").read_bytes()
        except OSError:
            continue
        if f"IONIAN_LOCK_DIR={lock_dir}".encode() in environ.split(b"\0"):
            found.append(f"{entry}: {command.replace(bytes(1), b' ').decode(errors='replace')}")
    return found


def open_descriptors() -> dict[str, str]:
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
    return {fd: target for fd, target in found.items() if "ionian" in target or "eventfd" in target}
