"""``python -m tests_py.bench``: every row beside its peer and its floor, in one table."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from typing import Any

import click
from rich.console import Console

from . import machine, report
from .measure import Ratio
from .result import Line

_SPREAD, _ONE_CORE = "spread", "one core"
#: Rows, the function that measures them, how it is bound.
GROUPS: tuple[tuple[tuple[int, ...], str, str], ...] = (
    ((1, 2), "latency", _SPREAD),
    ((1, 2), "latency", _ONE_CORE),
    ((3,), "latency:run_paced", _SPREAD),
    ((3,), "latency:run_paced", _ONE_CORE),
    ((4,), "mapping", ""),
    ((6,), "payload", ""),
    ((8,), "cold", ""),
    ((9,), "cold_gpu", ""),
    ((10,), "killed", ""),
    ((11,), "importing", ""),
    ((12,), "allocator", ""),
    ((13,), "products:large", ""),
    ((14,), "products:small", ""),
    ((15, 16), "collectives", ""),
    ((16,), "collectives:alone", ""),
    ((17, 18), "gangs", ""),
    ((17,), "gangs:killed", ""),
)
ROWS = sorted({row for rows, _, _ in GROUPS for row in rows})
_LIMIT = 240  # seconds for one group; only a hang takes so long


def run_group(group: str, pinning: str, quick: bool, env: dict[str, str]) -> list[Line]:
    """Measures in a process of its own. Raises RuntimeError with its output if it fails."""
    with tempfile.TemporaryDirectory(prefix="ionian-bench-") as directory:
        path = os.path.join(directory, "lines.json")
        command = [sys.executable, "-m", "tests_py.bench.row", group, pinning]
        process = subprocess.Popen(
            [*command, "quick" if quick else "full", path],
            env=env | {"IONIAN_LOCK_DIR": os.path.join(directory, "locks")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=_LIMIT)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        if process.returncode != 0:
            raise RuntimeError(
                f"{group} ended with {process.returncode}:\n{output.decode(errors='replace')}"
            )
        with open(path) as file:
            return [_line(each) for each in json.load(file)]


def _line(fields: dict[str, Any]) -> Line:
    fields["ratio"] = Ratio(**fields["ratio"]) if fields["ratio"] else None
    for name in ("ours", "theirs"):
        fields[name] = tuple(fields[name]) if fields[name] else None
    return Line(**fields)


def _left_behind(mark: str) -> list[int]:
    """Returns the processes that outlive their rows; what is about to end gets a moment."""
    for _ in range(100):
        if not machine.marked(mark):
            return []
        time.sleep(0.05)
    return machine.marked(mark)


@click.command()
@click.option(
    "--row",
    "rows",
    multiple=True,
    type=click.Choice([str(row) for row in ROWS]),
    help="Only this row.",
)
@click.option(
    "--quick", is_flag=True, help="Fewer samples in each of the blocks: under a minute in all."
)
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False), help="Write the figures there too."
)
def main(rows: tuple[str, ...], quick: bool, json_path: str | None) -> None:
    """Measures ionian beside its peers and floors. Ends with 1 if the machine was too restless."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended on the way
    began = time.monotonic()
    mark = uuid.uuid4().hex
    env = {name: value for name, value in os.environ.items() if name != "IONIAN_GPUS"} | {
        machine.MARK: mark
    }
    wanted = {int(row) for row in rows} or set(ROWS)
    about = machine.describe()
    lines: list[Line] = []
    failures: list[str] = []
    progress = Console(stderr=True)
    for has, group, pinning in GROUPS:
        if not wanted.intersection(has):
            continue
        name = f"row{'s' if len(has) > 1 else ''} {', '.join(map(str, has))} {pinning}"
        progress.print(f"{name.strip()} …", highlight=False, style="dim")
        try:
            measured = [
                line for line in run_group(group, pinning, quick, env) if line.row in wanted
            ]
            for line in measured:
                progress.print(report.brief(line), highlight=False, markup=False, soft_wrap=True)
            lines += measured
        except (RuntimeError, subprocess.TimeoutExpired) as exc:
            failures.append(str(exc))
    seconds = time.monotonic() - began
    report.show(lines, about, seconds)
    left = _left_behind(mark)
    if left:
        failures.append(f"processes were left behind: {left}")
    if json_path:
        figures = [dataclasses.asdict(line) | {"restless": line.restless} for line in lines]
        with open(json_path, "w") as file:
            json.dump(
                {"machine": about, "quick": quick, "seconds": seconds, "lines": figures},
                file,
                indent=1,
            )
    for failure in failures:
        click.echo(failure, err=True)
    if failures or any(line.restless for line in lines):
        sys.exit(1)


if __name__ == "__main__":
    main()
