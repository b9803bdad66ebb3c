"""What makes a process a rank of its call."""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import struct
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import _core
from .exception import ConnectionError, TimeoutError

if TYPE_CHECKING:
    from .comm import Communicator

#: How the leader says where it can be found: "pid:pipe to write:pipe to read:stack file".
VARIABLE = "IONIAN_RANK"
#: Has a rank write its stacks into its stack file, whatever its interpreter does.
STACK_SIGNAL = signal.SIGRTMIN + 5
#: The environment of a rank that must not reach runs and programs of other shape inside it.
TORCHRUN = (
    "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK GROUP_WORLD_SIZE MASTER_ADDR MASTER_PORT "
    "TORCHELASTIC_RUN_ID NCCL_HOSTID"
).split()

_RECORD = 512  # bytes of one message on the pipe: below PIPE_BUF, so never torn
_COMMUNICATOR_TIMEOUT = 60.0

rank = 0
world_size = 1
local_rank = 0

_writer = -1
_reader = -1
_communicator: Communicator | None = None
_lock = threading.Lock()


def environment(number: int, leased: list[str], port: int, run: str) -> dict[str, str]:
    """Returns what torchrun would set for rank ``number`` on the GPUs ``leased``.

    A slice of a split GPU ("GPU-…/1") is given as a machine of its own, because NCCL refuses two
    ranks of one machine on one GPU: its rank sees that GPU only, as number 0.
    """
    count = len(leased)
    gpu, _, part = leased[number].partition("/")
    env = {
        "RANK": str(number),
        "WORLD_SIZE": str(count),
        "LOCAL_RANK": "0" if part else str(number),
        "LOCAL_WORLD_SIZE": "1" if part else str(count),
        "GROUP_RANK": str(number) if part else "0",
        "GROUP_WORLD_SIZE": str(count) if part else "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": run,
    }
    if part:
        env["CUDA_VISIBLE_DEVICES"] = gpu
        env["NCCL_HOSTID"] = f"ionian-{leased[number]}"
    return env


def enter() -> None:
    """In a new worker: becomes the rank that the environment names, if it names one."""
    global rank, world_size, local_rank, _writer, _reader
    described = os.environ.pop(VARIABLE, "")
    if not described:
        return
    leader, writer, reader, stack = (int(part) for part in described.split(":"))
    rank = int(os.environ["RANK"])
    world_size = int(os.environ["WORLD_SIZE"])
    local_rank = int(os.environ["LOCAL_RANK"])
    _writer = os.open(f"/proc/{leader}/fd/{writer}", os.O_WRONLY | os.O_CLOEXEC)
    _reader = os.open(f"/proc/{leader}/fd/{reader}", os.O_RDONLY | os.O_CLOEXEC)
    file = os.open(f"/proc/{leader}/fd/{stack}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    faulthandler.register(STACK_SIGNAL, file=file, all_threads=True)


def outside(env: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment without what describes this rank."""
    if world_size == 1 and _writer < 0:
        return dict(env)
    return {name: value for name, value in env.items() if name not in TORCHRUN}


def _exchange(identity: bytes | None) -> bytes:
    """Gives rank 0's ``identity`` to every rank; returns it."""
    if identity is not None:
        record = struct.pack("H", len(identity)) + identity
        for _ in range(world_size - 1):
            os.write(_writer, record.ljust(_RECORD, b"\0"))
        return identity
    if not select.select([_reader], [], [], _COMMUNICATOR_TIMEOUT)[0]:
        raise TimeoutError(
            f"[communicator] rank 0 of {world_size} has not called ionian.communicator() within "
            f"{_COMMUNICATOR_TIMEOUT:.0f} s\nnext: every rank must call it"
        )
    record = os.read(_reader, _RECORD)
    if len(record) != _RECORD:
        raise ConnectionError("[communicator] the leader of this rank is gone")
    (size,) = struct.unpack_from("H", record)
    return record[2 : 2 + size]


def simulated() -> bool:
    """Returns whether the GPUs of this process are simulated."""
    return bool(os.environ.get("IONIAN_GPUS"))


def communicator(timeout: float) -> Any:
    """Returns the communicator of this rank's call; see ``ionian.communicator``."""
    global _communicator
    with _lock:
        if _communicator is None:
            from . import comm

            on_gpu = not simulated() and not _core.cuda_reason()
            identity: bytes | None = None
            if rank == 0:
                identity = comm.unique_id("nccl" if on_gpu else "shared_memory")
            if world_size > 1:
                identity = _exchange(identity)
            assert identity is not None
            _communicator = comm.Communicator(
                identity, rank, world_size, local_rank if on_gpu else None, timeout
            )
        return _communicator
