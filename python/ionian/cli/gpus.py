"""``ionian gpus``: which GPUs there are, and who uses them."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from .. import _core

_GIB = 1 << 30


@click.command(short_help="Show the GPUs of this machine and who uses them.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--topology", is_flag=True, help="Also how the GPUs are linked.")
@click.option("--probe", is_flag=True, help="Look now whether quarantined GPUs are well again.")
@click.option("--simulate", metavar="GPUS", help='Simulated GPUs instead, e.g. "A10G:2,H100:8".')
@click.option(
    "--split", type=click.IntRange(1, 16), metavar="N", help="Each GPU as N logical ones."
)
def gpus(
    as_json: bool, topology: bool, probe: bool, simulate: str | None, split: int | None
) -> None:
    """Show the GPUs of this machine, their names in gpu=, and who uses them.

    A GPU is leased (by a run of ionian, of any user), draining after a lease, quarantined because it
    failed, used outside ionian, or free. Exits 1 if there is no GPU.
    """
    if split is not None:
        os.environ["IONIAN_SPLIT"] = str(split)
    inventory = _core.read_inventory(simulate=simulate)
    book = _core.LeaseBook(inventory)
    if probe:
        book.probe()
    statuses = book.status()
    if as_json:
        print(json.dumps(_as_data(inventory, statuses), indent=2))
    else:
        _print(inventory, statuses, book.queue(), topology)
    if not inventory.devices:
        sys.exit(1)


def _as_data(inventory: _core.Inventory, statuses: list[_core.LeaseStatus]) -> dict[str, Any]:
    devices = []
    for device, status in zip(inventory.devices, statuses, strict=True):
        owner = status.owner
        devices.append(
            {
                "index": device.index,
                "uuid": device.uuid,
                "name": device.name,
                "gpu": device.type,
                "memory_bytes": device.memory_bytes,
                "memory_used_bytes": device.memory_used_bytes,
                "compute_capability": list(device.compute_capability),
                "pci_bus_id": device.pci_bus_id,
                "numa_node": device.numa_node,
                "simulated": device.simulated,
                "mig_enabled": device.mig_enabled,
                "state": status.state,
                "reason": _reason(device, status),
                "quarantine": None
                if status.quarantine is None
                else {
                    "reason": status.quarantine.reason,
                    "action": status.quarantine.action,
                    "xid": status.quarantine.xid or None,
                    "since_ns": status.quarantine.finder.since_ns,
                    "found_now": status.quarantine.found_now,
                    "probe_in_s": status.quarantine.probe_in,
                },
                "lease": None
                if owner is None
                else {
                    "pid": owner.pid,
                    "user": owner.user,
                    "app": owner.app,
                    "function": owner.function,
                    "since_ns": owner.since_ns,
                },
                "processes": [
                    {
                        "pid": process.pid,
                        "user": process.user,
                        "command": process.command,
                        "memory_bytes": process.memory_bytes,
                    }
                    for process in device.processes
                ],
                "links": [
                    inventory.topology.link(device.index, other)
                    for other in range(len(inventory.devices))
                ],
            }
        )
    return {
        "source": inventory.source,
        "driver_version": inventory.driver_version,
        "reason": inventory.reason,
        "gpus": devices,
    }


def _reason(device: _core.Device, status: _core.LeaseStatus) -> str:
    if status.quarantine is not None:
        return status.quarantine.reason
    return status.left or device.trouble


def _quarantined(status: _core.LeaseStatus) -> str:
    found = status.quarantine
    assert found is not None
    minutes = max(0, time.time_ns() - found.finder.since_ns) // 60_000_000_000
    text = f"quarantined {f'for {minutes} min' if minutes else 'just now'}: {found.reason}"
    if found.action:
        text += f"; {found.action}"
    if found.found_now and found.found_now != found.reason:
        text += f"; last probe: {found.found_now}"
    return f"{text}; probe {f'in {found.probe_in:.0f} s' if found.probe_in >= 1 else 'due'}"


def who(status: _core.LeaseStatus) -> str:
    """Returns who uses a GPU, in a few words."""
    if status.state == "free":
        return "nobody"
    if status.state == "quarantined":
        return _quarantined(status)
    if status.state == "external":
        strangers = [
            f"{p.user or 'somebody'} pid {p.pid} {p.command}".rstrip() for p in status.strangers
        ]
        return "outside ionian: " + "; ".join(strangers)
    owner = status.owner
    if owner is None or not owner.pid:
        return "leased"
    what = " ".join(part for part in (owner.app, owner.function) if part)
    minutes = max(0, time.time_ns() - owner.since_ns) // 60_000_000_000
    since = f"{minutes} min" if minutes else "just now"
    if status.state == "draining":
        return (
            f"draining: {status.left} is still on it after the lease of {owner.user or owner.uid}"
        )
    text = f"leased: {owner.user or owner.uid} pid {owner.pid} {what} ({since})"
    return f"{text}; then {_quarantined(status)}" if status.quarantine else text


def _print(
    inventory: _core.Inventory,
    statuses: list[_core.LeaseStatus],
    queue: list[_core.LeaseTicket],
    topology: bool,
) -> None:
    width = None if sys.stdout.isatty() else 200  # a pipe gets whole lines
    console = Console(width=width, highlight=False)
    if not inventory.devices:
        console.print(f"no GPU: {inventory.reason or 'none found'}", soft_wrap=True)
        console.print(
            'next: `ionian doctor` says what is wrong; --simulate "A10G:2" runs without one',
            soft_wrap=True,
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "gpu=", "model", "memory", "UUID", "used by"):
        table.add_column(column, overflow="fold", no_wrap=column not in ("used by", "model"))
    for device, status in zip(inventory.devices, statuses, strict=True):
        used, total = device.memory_used_bytes / _GIB, device.memory_bytes / _GIB
        name = device.name + (" (simulated)" if device.simulated else "")
        name += " (MIG)" if device.mig_enabled else ""
        name += " (slice)" if "/" in device.uuid else ""
        table.add_row(
            str(device.index),
            device.type,
            name,
            f"{used:.1f} / {total:.0f} GiB",
            device.uuid,
            who(status),
        )
    console.print(table)
    if any("/" in device.uuid for device in inventory.devices):
        console.print(
            "note: slices of real GPUs, to try programs for many; times mean nothing on them",
            soft_wrap=True,
        )
    for ticket in queue:
        console.print(f"waiting: {ticket.request} by pid {ticket.owner.pid} {ticket.owner.app}")
    if inventory.reason:
        console.print(f"note: {inventory.reason}", soft_wrap=True)
    if os.environ.get("CUDA_VISIBLE_DEVICES") is not None:
        console.print("note: CUDA_VISIBLE_DEVICES narrows what is shown and used", soft_wrap=True)
    if topology:
        console.print("links, as nvidia-smi topo names them:")
        console.print(_links(inventory))


def _links(inventory: _core.Inventory) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    count = len(inventory.devices)
    for column in ["", *map(str, range(count))]:
        table.add_column(column, justify="right")
    for a in range(count):
        row = []
        for b in range(count):
            link = inventory.topology.link(a, b)
            row.append(f"NV{inventory.topology.nvlinks(a, b)}" if link == "NV" else link)
        table.add_row(str(a), *row)
    return table
