"""Where NVIDIA's wheels keep the libraries that the core loads at run time."""

from __future__ import annotations

import glob
import importlib.util
import os
from collections.abc import Callable

_WHEELS = {
    "IONIAN_NCCL_LIBRARY": ("nccl/lib/libnccl.so.2",),
    "IONIAN_NVRTC_LIBRARY": ("cu*/lib/libnvrtc.so.*", "cuda_nvrtc/lib/libnvrtc.so.*"),
    "IONIAN_CUBLASLT_LIBRARY": ("cu*/lib/libcublasLt.so.*", "cublas/lib/libcublasLt.so.*"),
}


def find(variable: str) -> str:
    """Returns the file that a wheel installed, "" if none did."""
    spec = importlib.util.find_spec("nvidia")
    for directory in (spec.submodule_search_locations or []) if spec is not None else []:
        for pattern in _WHEELS[variable]:
            if found := sorted(glob.glob(os.path.join(directory, pattern))):
                return found[-1]
    return ""


def load(variable: str, loader: Callable[[], str]) -> str:
    """Has the core load a library, from a wheel if there is one; returns why there is none.

    ``loader`` loads it at its first call and looks at ``variable`` then. A library that the process
    has already (torch's) comes from the same wheel, so it is the same one.
    """
    if variable in os.environ or not (path := find(variable)):
        return loader()
    os.environ[variable] = path
    try:
        return loader()
    finally:
        del os.environ[variable]
