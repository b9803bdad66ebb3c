"""Holders and waiters as JSON and as words, alike in every command."""

from __future__ import annotations

import time
from typing import Any

from .. import _core


def owner_as_data(owner: _core.LeaseOwner) -> dict[str, Any]:
    return {
        "pid": owner.pid,
        "uid": owner.uid,
        "user": owner.user,
        "app": owner.app,
        "function": owner.function,
        "run": owner.run,
        "since_ns": owner.since_ns,
        "callers": owner.callers,
    }


def ticket_as_data(ticket: _core.LeaseTicket) -> dict[str, Any]:
    return {"number": ticket.number, "request": ticket.request, **owner_as_data(ticket.owner)}


def age(since_ns: int) -> str:
    """Returns "5 s", "3 min", "2 h" since that moment of the wall clock."""
    seconds = max(0, time.time_ns() - since_ns) // 1_000_000_000
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
