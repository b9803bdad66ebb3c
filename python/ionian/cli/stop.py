"""``ionian stop``: end a run of one's own, and see that it ended."""

from __future__ import annotations

import os
import select
import signal
import time

import click

from .. import _core, _runs
from ..exception import ExecutionError, InvalidError, NotFoundError, PermissionDeniedError
from .terminal import say

_GRACE = 5.0  # the guardian gives workers this long
_MARGIN = 12.0  # and waits for the driver to clear the GPUs


@click.command(short_help="End a run.")
@click.option("--now", is_flag=True, help="Do not give its workers time to end by themselves.")
@click.argument("run")
def stop(now: bool, run: str) -> None:
    """End RUN, the id that `ionian ps` shows or a beginning of it that is the only one.

    Its workers get SIGTERM, after 5 s SIGKILL; its calls fail with RemoteError in the program that made
    them, which goes on. Runs that it is nested in go on too. Only one's own runs can be ended.
    """
    found = _choose(run)
    pidfd = _pin(found)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGHUP if now else signal.SIGTERM)
        if not _ended(pidfd, _MARGIN if now else _GRACE + _MARGIN):
            say(f"guardian {found.guardian} does not end: killing it")
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            _ended(pidfd, _MARGIN)
    except ProcessLookupError:
        pass  # it ended by itself meanwhile
    finally:
        os.close(pidfd)
    left = _left(found)
    if left:
        raise ExecutionError(
            f"[stop] run {found.id} ended, but processes of it are left: {', '.join(map(str, left))}\n"
            "next: they may hang in the kernel (state D in `ps`); their GPUs are not granted meanwhile"
        )
    name = f" of {found.app}" if found.app else ""
    click.echo(f"stopped run {found.id}{name}")


def _choose(prefix: str) -> _runs.Run:
    if not prefix:
        raise InvalidError("[stop] expected the id of a run, as `ionian ps` shows it, got nothing")
    runs = _runs.find_runs()
    found = [run for run in runs if run.id and run.id.startswith(prefix)]
    exact = [run for run in found if run.id == prefix]
    if len(found) > 1 and len(exact) != 1:
        raise InvalidError(
            f"[stop] {prefix!r} begins the ids of {len(found)} runs: {_listed(found)}\n"
            "next: write more of it"
        )
    if found:
        run = (exact or found)[0]
        if run.uid != os.geteuid():
            raise PermissionDeniedError(
                f"[stop] run {run.id} is {run.user}'s; only its own user can stop it\n"
                f"next: ask them to run `ionian stop {run.id[:8]}`"
            )
        return run
    others = _others(prefix)
    if others:
        raise PermissionDeniedError(
            f"[stop] run {others[0].run} is that of {others[0].user or others[0].uid} "
            f"(pid {others[0].pid}); only its own user can stop it"
        )
    mine = [run for run in runs if run.id and run.uid == os.geteuid()]
    raise NotFoundError(
        f"[stop] no run's id begins with {prefix!r}\nfound: {_listed(mine) or 'no run of yours'}\n"
        "next: `ionian ps` lists them"
    )


def _listed(runs: list[_runs.Run]) -> str:
    return ", ".join(f"{run.id[:12]} ({run.app})" if run.app else run.id[:12] for run in runs)


def _others(prefix: str) -> list[_core.LeaseOwner]:
    """Returns the holders and waiters of other users whose run begins like that."""
    book = _core.LeaseBook(_core.read_inventory(processes=False), check_strangers=False)
    owners = [lease.owner for lease in book.leases()] + [ticket.owner for ticket in book.queue()]
    return [
        owner
        for owner in owners
        if owner is not None and owner.run.startswith(prefix) and owner.uid != os.geteuid()
    ]


def _pin(run: _runs.Run) -> int:
    """Returns a pidfd of the run's guardian. The second look makes sure that it pinned the right one:
    the process may have ended, and its number been given to another, since the first."""
    try:
        pidfd = os.pidfd_open(run.guardian)
    except ProcessLookupError:
        raise NotFoundError(f"[stop] run {run.id} has just ended") from None
    again = _runs.run_of(run.guardian)
    if again is None or again.id != run.id or again.uid != os.geteuid():
        os.close(pidfd)
        raise NotFoundError(f"[stop] run {run.id} has just ended")
    return pidfd


def _ended(pidfd: int, limit: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(limit * 1000))


def _left(run: _runs.Run) -> list[int]:
    deadline = time.monotonic() + 2
    while (left := _runs.processes_of(run.id)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left
