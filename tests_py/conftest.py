"""Every test has a lock directory of its own, and ends with the audit: nothing of its runs is left."""

from __future__ import annotations

import gc
import os
import pathlib
import signal
import sys
from collections.abc import Iterator

import pytest

HERE = os.path.dirname(__file__)
# Workers import the tests' functions by name, as they would a user's module.
sys.path[:0] = [HERE, *(os.path.join(HERE, folder) for folder in ("api", "faults", "kills"))]

from audit import Audit  # noqa: E402

# A shell has what it starts in the background ignore Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def has_gpu() -> str:
    """Returns "" if this machine has a real GPU, else why not."""
    from ionian import _core

    os.environ.pop("IONIAN_GPUS", None)
    inventory = _core.read_inventory(processes=False)
    return "" if inventory.source == "nvml" and inventory.devices else inventory.reason or "no GPU"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Tests that use CUDA in this very process come last: from then on it is a stranger on the GPU,
    # and no run of another test would be granted that.
    items.sort(key=lambda item: item.get_closest_marker("cuda_here") is not None)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    why = has_gpu() if marked else ""
    for item in marked:
        if why:
            item.add_marker(pytest.mark.skip(reason=f"needs a real GPU: {why.splitlines()[0]}"))


@pytest.fixture(autouse=True)
def world(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    """Sets a world of simulated GPUs apart, and looks after the test whether anything of it is left."""
    lock_dir = str(tmp_path / "locks")
    monkeypatch.setenv("IONIAN_LOCK_DIR", lock_dir)
    for name in ("IONIAN_GPUS", "IONIAN_GPU_MATCH", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    audit = Audit(lock_dir)
    yield tmp_path
    gc.collect()  # tracebacks of exceptions that the test looked at
    left = audit.wait(5)
    assert not left, "these are left: " + "\n".join(left)
