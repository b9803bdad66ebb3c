"""The API of a GPU cloud, on the GPUs that people own.

    import ionian

    app = ionian.App("digits")

    @app.function(gpu="any")
    def train(width: int) -> float: ...

    with app.run():
        print(list(train.map([64, 128, 256])))

Names are loaded when they are first used, so ``import ionian`` costs next to nothing.
"""

from __future__ import annotations

from . import _runtime

TYPE_CHECKING = False  # typing itself would cost as much as all the rest
if TYPE_CHECKING:
    from typing import Any

    from . import blas as blas
    from . import comm as comm
    from . import exception as exception
    from . import gpu as gpu
    from .app import App as App
    from .call import FunctionCall as FunctionCall
    from .exception import Error as Error
    from .function import Function as Function
    from .machine import enable_output as enable_output
    from .machine import inventory as inventory
    from .machine import lease as lease
    from .ranks import communicator as communicator
    from .ranks import local_rank as local_rank
    from .ranks import rank as rank
    from .ranks import spmd as spmd
    from .ranks import world_size as world_size
    from .retries import Retries as Retries

__version__ = "0.1.0"

__all__ = [
    "App",
    "Error",
    "Function",
    "FunctionCall",
    "Retries",
    "blas",
    "comm",
    "communicator",
    "enable_output",
    "exception",
    "gpu",
    "inventory",
    "is_local",
    "lease",
    "local_rank",
    "rank",
    "spmd",
    "world_size",
]

_HOMES = {
    "App": "app",
    "Error": "exception",
    "Function": "function",
    "FunctionCall": "call",
    "Retries": "retries",
    "communicator": "ranks",
    "enable_output": "machine",
    "inventory": "machine",
    "lease": "machine",
    "local_rank": "ranks",
    "rank": "ranks",
    "spmd": "ranks",
    "world_size": "ranks",
}


def is_local() -> bool:
    """Returns whether this process started the run; False where functions are run or imported for it."""
    return not _runtime.remote


def __getattr__(name: str) -> Any:
    import importlib

    if name in ("blas", "comm", "exception", "gpu"):
        return importlib.import_module(f".{name}", __name__)
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
