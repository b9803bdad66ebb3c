"""Functions that need numpy: the launcher imports it once, with this module."""

from __future__ import annotations

import numpy as np

import ionian

ARRAY_BYTES = 100_000_000
#: Seconds that an idle cold worker stays; the next sample waits until it is gone.
COLD_WINDOW = 0.005

app = ionian.App("bench-numpy")


def ends(array: np.ndarray) -> float:
    """Touches both ends of an array: a scalar out of many bytes."""
    return float(array[0] + array[-1])


def small() -> float:
    """A first result that needs numpy."""
    return float(np.arange(1000.0).sum())


remote_ends = app.function(max_containers=1)(ends)
remote_small = app.function(max_containers=1, scaledown_window=COLD_WINDOW)(small)
