"""Matrix products on the GPU, or on the host where GPUs are simulated.

    out = ionian.blas.matmul(x, w.T, bias=b, activation="gelu")

Arrays are those of torch, cupy, jax, numpy, or whatever has ``__dlpack__``,
``__cuda_array_interface__`` or ``__array_interface__``; nothing is copied. Work goes onto the stream
that the arrays' library works on, so it is in order with what comes before and after it.
"""

from __future__ import annotations

from typing import Any

from . import _core, _libraries

__all__ = ["finish_tuning", "matmul"]

_libraries.load("IONIAN_CUBLASLT_LIBRARY", _core.cublaslt_reason)


def finish_tuning() -> None:
    """Waits until every product that is to be measured has been; for benchmarks.

    After ten calls of one kind the fastest of cuBLASLt's algorithms is measured in the background,
    and kept in ``~/.cache/ionian`` for the next process. IONIAN_BLAS_TUNE=0 turns that off.
    """
    _core.finish_tuning()


# The core's function itself: a wrapper would cost as much as the rest of the call.
matmul: Any = _core.matmul
