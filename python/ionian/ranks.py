"""One body, run once for each GPU of a call: ``@ionian.spmd()``, and what its ranks know.

    @app.function(gpu="H100:4")
    @ionian.spmd()
    def train(steps: int) -> float:
        torch.cuda.set_device(ionian.local_rank())
        ...

Every rank is a process of its own that sees all GPUs of the call and uses number ``local_rank()``:
what torchrun promises, with its environment (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR,
MASTER_PORT …), so ``torch.distributed.init_process_group("nccl")`` works as it stands. Ranks stay
warm between calls, and so does what they have initialised: write
``if not torch.distributed.is_initialized():`` in front of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from . import _rank
from .exception import InvalidError

if TYPE_CHECKING:
    from .comm import Communicator

_F = TypeVar("_F", bound=Callable[..., Any])
_MARK = "__ionian_spmd__"


@dataclass(frozen=True)
class Spmd:
    """What ``@ionian.spmd()`` was told."""

    gather: bool = False


def spmd(*args: Any, gather: bool = False) -> Callable[[_F], _F]:
    """Marks a function to be run once for each GPU of its ``gpu=``, at the same time.

    Every rank gets the arguments. The call returns what rank 0 returned, or with ``gather`` the
    list of what all returned, by rank. The first rank that fails ends the others, and the call
    raises RankError; a rank that never comes back ends it after the function's ``timeout=``, with
    the stack of each rank. Stands below ``@app.function``.
    """
    if args:
        raise InvalidError("[spmd] did you forget parentheses? Write `@ionian.spmd()`.")
    if not isinstance(gather, bool):
        raise InvalidError(f"[spmd] expected gather= to be True or False, got {gather!r}")

    def mark(raw: _F) -> _F:
        from .function import Function

        if isinstance(raw, Function):
            raise InvalidError(
                f"[spmd] {raw.name!r} is a function of an app already\n"
                "next: write @app.function(...) above @ionian.spmd(), not below it"
            )
        if not callable(raw):
            raise InvalidError(f"[spmd] expected a function, got {type(raw).__name__}")
        setattr(raw, _MARK, Spmd(gather))
        return raw

    return mark


def spmd_of(raw: Callable[..., Any]) -> Spmd | None:
    """Returns how ``raw`` was marked, None if it was not."""
    found = getattr(raw, _MARK, None)
    return found if isinstance(found, Spmd) else None


def rank() -> int:
    """Returns the number of this process among the ranks of its call, from 0; 0 outside one."""
    return _rank.rank


def world_size() -> int:
    """Returns how many ranks the call has; 1 outside one."""
    return _rank.world_size


def local_rank() -> int:
    """Returns CUDA's number of this rank's GPU in this process. It is the rank, but 0 on a slice of
    a split GPU: such a rank sees its GPU only."""
    return _rank.local_rank


def communicator(*, timeout: float = 60.0) -> Communicator:
    """Returns the communicator of all ranks of this call, on this rank's GPU.

    Made at the first call, which every rank must make, and kept as long as the worker is warm: on
    NCCL, or over shared memory for simulated GPUs. Outside a call of ``spmd`` it has one rank.
    ``timeout``: seconds that its calls may wait for other ranks; the first call's counts.
    """
    made: Communicator = _rank.communicator(timeout)
    return made
