"""``ionian explain``: why GPUs are not granted now, or that they would be."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from .. import _core
from ..exception import InvalidError
from ..gpu import parse_gpu
from .records import owner_as_data, ticket_as_data

#: Exit codes beside 0, "would be granted now".
_WAITS, _NEVER = 1, 3


@click.command(short_help="Say why GPUs are not granted now.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--simulate", metavar="GPUS", help='Simulated GPUs instead, e.g. "A10G:2,H100:8".')
@click.option(
    "--gpu-match",
    type=click.Choice(["exact", "upgrade", "at-least", "pretend"]),
    help="How strictly gpu= binds to the GPUs of this machine. [default: upgrade]",
)
@click.option(
    "--split", type=click.IntRange(1, 16), metavar="N", help="Each GPU as N logical ones."
)
@click.argument("request", nargs=-1, required=True)
def explain(
    as_json: bool,
    simulate: str | None,
    gpu_match: str | None,
    split: int | None,
    request: tuple[str, ...],
) -> None:
    """Say what would become of REQUEST now: granted, which GPUs; or what is in the way, who holds it.

    REQUEST is what gpu= takes; several are alternatives in order of preference. Nothing is requested:
    the queue stays as it is.

    Exits 0 if it would be granted now, 1 if it would wait, 3 if this machine can never grant it.

    \b
    ionian explain H100:2
    ionian explain H100:2 A100-80GB:4 any
    """
    if split is not None:
        os.environ["IONIAN_SPLIT"] = str(split)
    parsed = parse_gpu(request[0] if len(request) == 1 else list(request))
    if parsed is None:
        raise InvalidError("[explain] expected a GPU request such as H100:2")
    match = gpu_match or os.environ.get("IONIAN_GPU_MATCH") or "upgrade"
    book = _core.LeaseBook(_core.read_inventory(simulate=simulate), match=match)
    explanation = book.explain(parsed)
    print(json.dumps(as_data(explanation), indent=2) if as_json else explanation)
    if not explanation.grant:
        sys.exit(_NEVER if explanation.never else _WAITS)


def as_data(explanation: _core.LeaseExplanation) -> dict[str, Any]:
    """Returns it as JSON can hold it."""
    state = "never" if explanation.never else "granted" if explanation.grant else "waits"
    return {
        "request": explanation.request,
        "state": state,
        "never": explanation.never or None,
        "possible_now": explanation.possible_now,
        "grant": explanation.grant,
        "position": explanation.position,
        "alternatives": [
            {
                "request": each.item,
                "count": each.count,
                "possible": each.possible,
                "free": each.free,
                "busy": each.busy,
                "kept": [{"uuid": kept.uuid, "request": kept.request} for kept in each.kept],
            }
            for each in explanation.alternatives
        ],
        "gpus": [
            {
                "uuid": each.uuid,
                "gpu": each.type,
                "state": each.state,
                "quarantine": each.quarantine and each.quarantine.reason,
                "left": each.left or None,
                "lease": None if each.owner is None else owner_as_data(each.owner),
                "strangers": [
                    {"pid": process.pid, "user": process.user, "command": process.command}
                    for process in each.strangers
                ],
            }
            for each in explanation.gpus
        ],
        "queue": [ticket_as_data(ticket) for ticket in explanation.queue],
    }
