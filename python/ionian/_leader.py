"""The leader of a gang: takes each call, hands it to every rank, answers once.

It runs nothing of the user and never touches CUDA, so it can fork ranks at any time.
"""

from __future__ import annotations

import os
import signal
import socket
import time
import traceback
import warnings
from dataclasses import dataclass, field
from typing import Any, NoReturn

from . import _core, _environment, _rank, serialization
from .exception import FunctionTimeoutError, InputCancellation, WorkerDiedError

_SETTLE = 0.25  # for the other ranks to fail by themselves, so that each cause is known
_CANCEL_GRACE = 5.0
_STACK_TIME = 0.3


@dataclass
class Outcome:
    """What the ranks did with one call."""

    replies: dict[int, _core.GangEvent] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)  # by rank: exit code, or minus the signal
    first: int | None = None  # the rank that failed first
    timed_out: bool = False
    cancelled: bool = False

    def failed(self) -> bool:
        return bool(self.ended) or self.first is not None or self.timed_out or self.cancelled


class Leader:
    """Serves until told to end. ``fresh``: the command line and setup of a rank that cannot be
    forked, None where it can."""

    def __init__(
        self,
        worker: _core.Worker,
        spec: tuple[Any, ...],
        fresh: tuple[list[str], bytes] | None,
    ) -> None:
        _, options, self.inner, self.name = spec
        self.gather: bool = options["gather"]
        self.timeout: float = options["timeout"]
        self.startup_timeout: float = options["startup_timeout"]
        self.worker = worker
        self.fresh = fresh
        self.leased = [gpu for gpu in os.environ["IONIAN_LEASED_GPUS"].split(",") if gpu]
        self.gang = _core.Gang(worker, len(self.leased))
        self.calls = 0
        # Bound but never listening: nobody else is given this port, and rank 0 can still take it.
        self.port = socket.socket()
        self.port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port.bind(("127.0.0.1", 0))
        self.reader, self.writer = os.pipe()
        self.stacks = [os.memfd_create(f"ionian-stack-{rank}") for rank in range(len(self.leased))]

    def rank_environment(self, rank: int) -> dict[str, str]:
        env = _rank.environment(
            rank, self.leased, self.port.getsockname()[1], os.environ.get("IONIAN_RUN", "ionian")
        )
        fds = f"{os.getpid()}:{self.writer}:{self.reader}:{self.stacks[rank]}"
        return env | {_rank.VARIABLE: fds}

    def start_ranks(self) -> _core.Worker | None:
        """Returns None in the leader; in a rank that it forked, the rank's worker."""
        for rank in range(len(self.leased)):
            env = self.rank_environment(rank)
            if self.fresh is not None:
                argv, setup = self.fresh
                full = _environment.startable() | env
                self.gang.start_afresh(
                    rank,
                    [os.fsencode(arg) for arg in argv],
                    [os.fsencode(f"{name}={value}") for name, value in full.items()],
                    setup,
                )
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # our own thread sits in poll()
                pid = os.fork()
            if pid == 0:
                os.environ.update(env)
                return self.gang.become(rank)
            self.gang.forked(rank, pid)
        self.gang.watch()
        return None

    def serve(self) -> NoReturn:
        self.gang.send_setup(self.inner)
        outcome = self.collect(time.monotonic() + self.startup_timeout)
        if outcome.failed():
            self.worker.reply(_core.RAISED, self.start_failure(outcome).encode(), None)
            self.leave(1)
        self.worker.reply(_core.RETURNED, b"", None)
        while (request := self.worker.next()) is not None:
            if not self.gang.complete:
                self.leave(1)  # not started: the call goes to the next worker
            self.worker.started()
            self.calls += 1
            self.gang.send_call(self.calls, bytes(request[0]), request[1])
            request = None
            outcome = self.collect(time.monotonic() + self.timeout)
            if outcome.failed():
                self.worker.reply(self.failure_code(outcome), self.failure(outcome), None)
                break
            self.answer(outcome)
        self.leave(0)

    def collect(self, deadline: float) -> Outcome:
        """Waits until every rank has answered or ended, or until it is no use to wait on."""
        outcome = Outcome()
        while len(outcome.replies.keys() | outcome.ended.keys()) < self.gang.size:
            try:
                event = self.gang.wait(max(0.0, deadline - time.monotonic()))
            except InputCancellation:
                outcome.cancelled = True
                self.gang.cancel(self.calls)
                deadline = min(deadline, time.monotonic() + _CANCEL_GRACE)
                continue
            if event.kind == "deadline":
                outcome.timed_out = outcome.first is None and not outcome.cancelled
                break
            failed = event.kind == "ended" or event.code != _core.RETURNED
            if event.kind == "ended":
                outcome.ended[event.rank] = event.exit
            else:
                outcome.replies[event.rank] = event
            if failed and outcome.first is None:
                outcome.first = event.rank
                deadline = min(deadline, time.monotonic() + _SETTLE)
        return outcome

    def answer(self, outcome: Outcome) -> None:
        messages = [outcome.replies[rank].message for rank in range(self.gang.size)]
        if self.gather:
            head, buffers = serialization.gather(messages)
        else:
            head, buffers = bytes(messages[0][0]), list(messages[0][1])
        self.worker.reply(_core.RETURNED, head, buffers)

    # ---- what went wrong -------------------------------------------------------------------------

    def stacks_of(self, ranks: list[int]) -> dict[int, str]:
        """Returns where these ranks are now, as far as they can still say."""
        before = {rank: os.fstat(self.stacks[rank]).st_size for rank in ranks}
        self.gang.signal(_rank.STACK_SIGNAL)
        texts: dict[int, str] = {}
        until = time.monotonic() + _STACK_TIME
        while time.monotonic() < until:
            time.sleep(0.01)
            sizes = {rank: os.fstat(self.stacks[rank]).st_size for rank in ranks}
            fresh = {
                rank: os.pread(self.stacks[rank], 1 << 16, before[rank]).decode(errors="replace")
                for rank in ranks
                if sizes[rank] > before[rank]
            }
            if fresh == texts and len(texts) == len(ranks):
                break
            texts = fresh
        return {
            rank: _without_ours(texts[rank])
            if rank in texts
            else f"(no stack: {_state(self.gang.pid(rank))})"
            for rank in ranks
        }

    def failure_code(self, outcome: Outcome) -> int:
        """Returns whether another attempt may help: as the rank says that failed first."""
        if outcome.cancelled:
            return _core.REFUSED
        first = outcome.replies.get(outcome.first) if outcome.first is not None else None
        return first.code if first is not None else _core.RAISED

    def failure(self, outcome: Outcome) -> bytes:
        """Returns the answer of a call that failed."""
        size = self.gang.size
        done = outcome.replies.keys() | outcome.ended.keys()
        stacks = self.stacks_of([rank for rank in range(size) if rank not in done])
        shown = "".join(
            f"\nrank {rank} was at:\n{stacks[rank].rstrip()}" for rank in sorted(stacks)
        )
        if outcome.cancelled:
            return serialization.encode_exception(
                InputCancellation("the caller cancelled this call")
            )
        if outcome.timed_out:
            missing = ", ".join(str(rank) for rank in sorted(stacks))
            return serialization.encode_exception(
                FunctionTimeoutError(
                    f"[{self.name}] the call ran longer than its timeout of {self.timeout:g} s; rank "
                    f"{missing} of {size} did not come to an end\nall ranks are ended; raise timeout= if "
                    f"it needs longer, or see whether each rank enters every collective{shown}"
                )
            )
        assert outcome.first is not None
        causes = {
            rank: bytes(event.message[0])
            for rank, event in outcome.replies.items()
            if event.code != _core.RETURNED
        }
        for rank, status in outcome.ended.items():
            if rank not in causes:
                causes[rank] = serialization.encode_exception(self.death(rank, status))
        return serialization.encode_rank_error(self.name, outcome.first, size, causes, stacks)

    def death(self, rank: int, status: int) -> WorkerDiedError:
        cause = f"left with exit code {status}"
        if status < 0:
            try:
                cause = f"was killed by {signal.Signals(-status).name} (signal {-status})"
            except ValueError:
                cause = f"was killed by signal {-status}"
        tail = self.gang.tail(rank)
        error = WorkerDiedError(
            f"rank {rank} on {self.leased[rank]} {cause}"
            + (f"\nlast output:\n{tail.rstrip()}" if tail else "")
        )
        error.signal = -status if status < 0 else None
        error.exit_code = status if status >= 0 else None
        error.started, error.cause, error.log_tail = True, cause, tail
        error.gpus = [self.leased[rank]]
        return error

    def start_failure(self, outcome: Outcome) -> str:
        for event in outcome.replies.values():
            if event.code != _core.RETURNED:
                return bytes(event.message[0]).decode(errors="replace")
        for rank, status in outcome.ended.items():
            return str(self.death(rank, status))
        return f"[{self.name}] its ranks were not ready within its startup_timeout of {self.startup_timeout:g} s"

    def leave(self, code: int) -> NoReturn:
        try:
            self.gang.end()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)


def _without_ours(stack: str) -> str:
    """Returns a stack as faulthandler wrote it, without the frames that call the body."""
    ours = ('File "' + os.path.dirname(os.path.abspath(__file__)) + os.sep, 'File "<string>"')
    lines = stack.splitlines()
    return "\n".join(line for line in lines if not line.strip().startswith(ours))


def _state(pid: int) -> str:
    """Returns what the kernel says of a process that does not answer."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            letter = file.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "the process has ended"
    names = {"T": "stopped by a signal", "t": "stopped by a debugger", "D": "waits in the kernel"}
    return f"the process is {names.get(letter, 'busy in native code')}"


def lead(
    worker: _core.Worker, spec: tuple[Any, ...], fresh: tuple[list[str], bytes] | None
) -> _core.Worker:
    """Returns only in a rank that was forked: its worker."""
    leader = Leader(worker, spec, fresh)
    rank = leader.start_ranks()
    if rank is not None:
        _kept.append(leader)  # it holds what is the parent's: nothing of it may be destroyed here
        return rank
    leader.serve()


_kept: list[Leader] = []
