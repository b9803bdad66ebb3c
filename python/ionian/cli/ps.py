"""``ionian ps``: what runs, what holds GPUs, and what waits for them."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from .. import _core, _runs
from .records import age, owner_as_data, ticket_as_data

_SHORT = 8  # of a run's id


@click.command(short_help="Show what runs, holds GPUs, and waits for them.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def ps(as_json: bool) -> None:
    """Show the runs of this machine with their workers, the leases, and the queue for GPUs.

    Of other users' runs it shows what they hold and wait for. `ionian gpus` shows the GPUs themselves.
    """
    # Which GPUs there are does not matter: leases and tickets are in the lock directory.
    book = _core.LeaseBook(_core.read_inventory(processes=False), check_strangers=False)
    runs, leases, queue = _runs.find_runs(), book.leases(), book.queue()
    if as_json:
        data = {
            "runs": [_run_as_data(run) for run in runs],
            "leases": [
                {"uuid": lease.uuid, "gpu": lease.type, **owner_as_data(lease.owner)}
                for lease in leases
                if lease.owner is not None
            ],
            "queue": [ticket_as_data(ticket) for ticket in queue],
        }
        print(json.dumps(data, indent=2))
        return
    _print(runs, leases, queue)


def _run_as_data(run: _runs.Run) -> dict[str, Any]:
    return {
        "run": run.id or None,
        "inside": run.inside or None,
        "app": run.app,
        "uid": run.uid,
        "user": run.user,
        "client": run.client,
        "guardian": run.guardian,
        "since_ns": run.since_ns,
        "workers": [
            {
                "number": worker.number,
                "pid": worker.pid or None,
                "state": worker.state,
                "gpus": list(worker.gpus),
                "function": worker.function,
            }
            for worker in run.workers
        ],
    }


def _print(
    runs: list[_runs.Run], leases: list[_core.LeaseStatus], queue: list[_core.LeaseTicket]
) -> None:
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    types = {lease.uuid: lease.type for lease in leases}

    def gpu(uuid: str) -> str:
        return f"{types.get(uuid, '')} {uuid}".strip()

    shown = _table("run", "app", "user", "client", "inside", "since")
    for run in runs:
        shown.add_row(
            run.id[:_SHORT] or "?",
            run.app,
            run.user,
            str(run.client),
            run.inside[:_SHORT],
            age(run.since_ns),
        )
    workers = _table("run", "worker", "function", "pid", "state", "GPUs")
    for run in runs:
        for worker in run.workers:
            workers.add_row(
                run.id[:_SHORT],
                str(worker.number),
                worker.function,
                str(worker.pid or ""),
                worker.state,
                ", ".join(map(gpu, worker.gpus)),
            )
    held = _table("GPU", "user", "pid", "app", "function", "run", "for")
    for lease in leases:
        held.add_row(gpu(lease.uuid), *_who(lease.owner))
    waiting = _table("", "request", "user", "pid", "app", "function", "run", "for", "inside")
    for place, ticket in enumerate(queue, 1):
        inside = " → ".join(caller.partition(" (")[0] for caller in ticket.owner.callers)
        waiting.add_row(str(place), ticket.request, *_who(ticket.owner), inside)
    for title, table, none in (
        ("RUNS", shown, "no run"),
        ("WORKERS", workers, "no worker"),
        ("LEASES", held, "no GPU is leased"),
        ("QUEUE", waiting, "nobody waits for GPUs"),
    ):
        console.print(title, style="bold")
        console.print(table if table.row_count else f"{none}\n")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _who(owner: _core.LeaseOwner | None) -> tuple[str, ...]:
    if owner is None or not owner.pid:
        return ("?", "", "", "", "", "")
    user = owner.user or f"uid {owner.uid}"
    return (
        user,
        str(owner.pid),
        owner.app,
        owner.function,
        owner.run[:_SHORT],
        age(owner.since_ns),
    )
