"""``ionian doctor``: what this machine has, what it lacks, and what to do about it."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click

from .. import __version__, _core

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_GIB = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One line of the report. ``good`` is None for what is only worth knowing."""

    what: str
    text: str
    good: bool | None = None


@click.command(short_help="Say what is missing or wrong on this machine.")
@click.option("--gpus", is_flag=True, help="Also measure every GPU that is free, and each pair.")
def doctor(gpus: bool) -> None:
    """Look at the driver, the libraries, the lock directory, limits and stale processes.

    With --gpus also measure, for some seconds a GPU: copies between host and GPU and from GPU to
    GPU, matrix products, and all-reduces of each pair, beside what the data sheets say.

    Exits 1 if something is wrong.
    """
    failed = False
    for finding in findings():
        failed |= finding.good is False
        sign = {
            True: click.style("ok", fg="green"),
            False: click.style("!!", fg="red"),
            None: "  ",
        }[finding.good]
        click.echo(f"{sign} {finding.what}: {finding.text}")
    if gpus:
        from .preflight import preflight

        failed |= not preflight()
    if failed:
        sys.exit(1)


def findings() -> Iterator[Finding]:
    """Yields what was found, most important first."""
    yield Finding("ionian", f"{__version__}, Python {sys.version.split()[0]} at {sys.executable}")
    yield from _gpus()
    yield from _libraries()
    yield from _lock_directory()
    yield _guardian()
    yield from _limits()
    yield _stale_processes()


def _gpus() -> Iterator[Finding]:
    inventory = _core.read_inventory()
    found = ", ".join(f"{device.type} {device.uuid}" for device in inventory.devices)
    if inventory.source == "nvml":
        yield Finding(
            "driver", f"{inventory.driver_version}, through {inventory.library_path}", True
        )
    if inventory.devices:
        kind = "simulated GPUs" if inventory.source == "simulated" else "GPUs"
        yield Finding(kind, found, True)
    else:
        yield Finding("GPUs", f"none: {inventory.reason or 'no device'}", None)
    for device in inventory.devices:
        if device.trouble:
            yield Finding(f"GPU {device.uuid}", device.trouble, False)
        model = _core.find_model(device.type)
        if model is None:
            yield Finding(
                f"GPU {device.uuid}",
                f"{device.name} is not in the catalog; ask for it by UUID or any",
            )


def _libraries() -> Iterator[Finding]:
    from .. import blas, comm  # they have the core look into NVIDIA's wheels

    assert blas and comm
    for what, reason, path in (
        ("CUDA driver", _core.cuda_reason(), ""),
        ("cuBLASLt, for ionian.blas", _core.cublaslt_reason(), _core.cublaslt_path()),
        ("NCCL, for several GPUs", _core.nccl_reason(), _core.nccl_path()),
    ):
        yield Finding(what, reason.splitlines()[0] if reason else path or "found")


def _lock_directory() -> Iterator[Finding]:
    path = _core.LeaseBook.default_lock_dir()
    try:
        book = _core.LeaseBook(_core.read_inventory())
        waiting = len(book.queue())
    except Exception as exc:
        yield Finding("lock directory", f"{path}: {str(exc).splitlines()[0]}", False)
        return
    mode = os.stat(path).st_mode & 0o7777
    shared = "shared by all users" if mode & 0o002 else "of this user alone"
    yield Finding("lock directory", f"{path}, mode {mode:o}, {shared}; {waiting} waiting", True)
    if os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"):
        yield Finding(
            "container",
            "programs outside it share GPU locks only if they share the lock directory: bind-mount it "
            "and set IONIAN_LOCK_DIR",
        )


def _guardian() -> Finding:
    path = os.environ.get("IONIAN_GUARDIAN") or os.path.join(_PACKAGE, "_bin", "ionian-guardian")
    try:
        version = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return Finding("guardian", f"{path}: {exc}; reinstall ionian", False)
    text = version.stdout.strip()
    return Finding("guardian", f"{path}: {text}", text == f"ionian-guardian {__version__}")


def _limits() -> Iterator[Finding]:
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield Finding("descriptors", f"{descriptors} at once", descriptors >= 1024)
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    shown = "no limit" if processes == resource.RLIM_INFINITY else str(processes)
    yield Finding("processes", shown, processes == resource.RLIM_INFINITY or processes >= 256)
    if os.path.isdir("/dev/shm"):
        free = shutil.disk_usage("/dev/shm").free / _GIB
        small = free < 1
        hint = (
            "; small for DataLoader and NCCL: start the container with --shm-size" if small else ""
        )
        yield Finding("/dev/shm", f"{free:.1f} GiB free{hint}", None if small else True)
    yield Finding("processors", f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}")


def _stale_processes() -> Finding:
    """Processes of runs whose guardian is gone; there should never be one."""
    runs: dict[str, list[int]] = {}
    guarded: set[str] = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                environ = file.read().split(b"\0")
            with open(f"/proc/{entry}/comm") as file:
                command = file.read().strip()
        except OSError:
            continue
        for variable in environ:
            if variable.startswith(b"IONIAN_RUN="):
                run = variable[len(b"IONIAN_RUN=") :].decode(errors="replace").rpartition("/")[2]
                if command == "ionian-guardian":
                    guarded.add(run)
                else:
                    runs.setdefault(run, []).append(int(entry))
    stale = [pid for run, pids in runs.items() if run not in guarded for pid in pids]
    if stale:
        return Finding(
            "stale processes", f"{stale} belong to runs that have ended; kill them", False
        )
    return Finding("stale processes", "none", True)
