"""Everything that ionian raises. One tree under ``Error``; every exception can be pickled.

Names that the service has too mean the same here, so ``except`` clauses written for it keep working.
"""

from __future__ import annotations


class Error(Exception):
    """Root of everything that ionian raises."""


class InvalidError(Error):
    """A bad argument; raised where it is given, at decoration if it can be known there."""


class GpuRequestError(InvalidError, ValueError):
    """A ``gpu=`` that is not a request."""

    text: str = ""  #: what was read
    position: int = 0  #: where the fault is, in characters of ``text``
    suggestion: str = ""  #: the nearest valid spelling, "" if there is none


class UnsatisfiableError(InvalidError):
    """Can never run on this machine. Says what exists and the nearest that would fit."""


class ExecutionError(Error):
    """Wrong use: the app is not running, a handle of another process."""


class LeaseDeadlockError(ExecutionError):
    """The call would wait for a GPU that its own caller holds."""


class TimeoutError(Error):
    """Something took longer than it may."""


class FunctionTimeoutError(TimeoutError):
    """The body of the function ran longer than its ``timeout=``."""


class LeaseTimeoutError(TimeoutError):
    """GPUs were not granted in time. Names who holds them."""


class RemoteError(Error):
    """The far side failed, and its own exception cannot be the answer."""


class WorkerDiedError(RemoteError):
    """A worker process ended while a call was its."""

    pid: int = 0
    signal: int | None = None  #: that killed it
    exit_code: int | None = None  #: with which it left
    started: bool = False  #: whether the body of the function had been entered
    cause: str = ""
    gpus: list[str] = []  #: "A10G GPU-…"
    log_tail: str = ""  #: the last lines that it wrote


class WorkerOutOfMemoryError(WorkerDiedError):
    """The kernel ended the worker for want of memory: its own counter says so."""


class WorkerStartError(WorkerDiedError):
    """A worker ended before it was ready; carries the text of the import's failure."""


class CrashLoopError(WorkerDiedError):
    """Worker after worker ended before it was ready."""


class CudaError(Error):
    """CUDA, or a library on top of it (cuBLAS, NCCL), refused."""


class GpuUnhealthyError(RemoteError):
    """A GPU failed."""


class RankError(RemoteError):
    """A rank of an ``spmd`` call failed, and the others were ended. Its ``__cause__`` is what that
    rank raised."""

    rank: int = 0  #: the first that failed
    causes: dict[int, BaseException] = {}  #: by rank: of all that failed
    stacks: dict[int, str] = {}  #: by rank: where those were that had to be ended


class SerializationError(Error):
    """A value cannot be sent. Says where in it."""


class DeserializationError(Error):
    """A value that was sent cannot be rebuilt. Says on which side."""


class ResourceExhaustedError(Error):
    """No memory, descriptors or processes are left."""


class NotFoundError(Error):
    """What was named is not there."""


class PermissionDeniedError(Error):
    """Refused for safety, or by the kernel."""


class ConnectionError(Error):
    """The far side is gone."""


class VersionError(Error):
    """Two parts of different versions met."""


class InternalError(Error):
    """A fault of ionian itself."""


class InputCancellation(BaseException):
    """Raised inside the function when its caller cancels the call."""


class RemoteTraceback(Exception):
    """The traceback of the far side; the ``__cause__`` of the exception that came from there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'
