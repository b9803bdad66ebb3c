"""The table, and the same as JSON."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .measure import BLOCKS, CONTROL
from .result import Line

_TITLES = (
    *("row", "what", "ours p50 · p99", "peer", "peer p50 · p99"),
    *("ratio (range)", "floor", "goal", "reached"),
)
_WIDTH = 190  # where the output is no terminal


def time_text(seconds: float) -> str:
    if seconds == 0:
        return "0"
    for bound, scale, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms")):
        if abs(seconds) < bound:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds:.3g} s"


def figure(value: float, unit: str) -> str:
    if unit == "s":
        return time_text(value)
    for bound, scale, letter in ((1e6, 1e-6, "M"), (1e3, 1e-3, "k")):
        if value >= bound:
            return f"{value * scale:.3g} {letter}/s"
    return f"{value:.3g} /s"


def pair(values: tuple[float, float] | None, unit: str) -> str:
    return " · ".join(figure(value, unit) for value in values) if values else ""


def verdict(line: Line) -> str:
    if line.skipped:
        return "skipped"
    if line.reached:
        return "[green]yes[/]"
    if line.least_reached:
        return f"[yellow]no[/]; {line.least}: yes"
    return f"[red]no[/]; {line.least}: no" if line.least else "[red]no[/]"


def brief(line: Line) -> str:
    """Returns one line of plain text: what is known as soon as a row is measured."""
    if line.skipped:
        return f"  {line.what}: skipped: {line.skipped}"
    ours = pair(line.ours, line.unit)
    theirs = f" against {pair(line.theirs, line.unit)} of {line.peer}" if line.theirs else ""
    ratio = f": {line.ratio.median:.3g} ×" if line.ratio else ""
    return f"  {line.what}: {ours}{theirs}{ratio}; {line.note}"


def show(lines: list[Line], machine: dict[str, str | int], seconds: float) -> None:
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print("  ".join(f"{name}: {value}" for name, value in machine.items()), highlight=False)
    table = Table(title="ionian beside its peers and floors", title_justify="left")
    for title in _TITLES:
        table.add_column(title, justify="right" if title == "row" else "left")
    for each in lines:
        what = each.what + (f", {each.pinning}" if each.pinning else "")
        ratio = each.ratio
        table.add_row(
            str(each.row),
            what,
            pair(each.ours, each.unit),
            each.peer,
            pair(each.theirs, each.unit),
            escape(f"{ratio.median:.3g} [{ratio.low:.3g} … {ratio.high:.3g}]") if ratio else "",
            figure(each.floor, each.unit) if each.floor is not None else "",
            each.goal,
            verdict(each) + (" (restless)" if each.restless else ""),
        )
    console.print(table)
    for each in lines:
        floor = f"floor: {each.floor_name}" if each.floor_name else ""
        control = f"ours against ours {each.control:.2f}" if each.control is not None else ""
        skipped = f"skipped: {each.skipped}" if each.skipped else ""
        notes = "; ".join(text for text in (skipped, floor, each.note, control) if text)
        if notes:
            versus = f" (vs {each.peer})" if each.peer else ""
            where = f", {each.pinning}" if each.pinning else ""
            console.print(
                f"  {each.row:>2} {each.what}{where}{versus}: {notes}",
                highlight=False,
            )
    console.print(
        "PPE: concurrent.futures.ProcessPoolExecutor. spread: caller and worker each on a core of their "
        "own; one core: both on one.\n"
        f"Of rates, the second figure is the slowest block. Ratio: the median of {BLOCKS} blocks and their "
        f"range; in each block ours and the peer took turns. {seconds:.0f} s in all.",
        highlight=False,
    )
    restless = [each for each in lines if each.restless]
    if restless:
        rows = ", ".join(sorted({str(each.row) for each in restless}))
        console.print(
            f"[red]The machine was too restless for rows {rows}[/]: ours against ours left "
            f"{CONTROL[0]:g} … {CONTROL[1]:g}. Run them again at a quiet moment.",
            highlight=False,
        )
