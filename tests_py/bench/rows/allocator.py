"""Row 12: grants of the allocator per second. Decisions, not launches.

The C++ program measures; its table goes to build/bench/allocator.csv, and a plot of it beside that.
"""

from __future__ import annotations

import csv
import io
import pathlib
import subprocess

from ..result import Effort, Line

ROOT = pathlib.Path(__file__).parents[3]
PROGRAM = ROOT / "build" / "release" / "tests_cpp" / "bench" / "allocator_scale"
OUTPUT = ROOT / "build" / "bench"
WHAT = "grants of the allocator (decisions, not launches)"
MIXED = "all of them"
SIZES = (131_072, 1_048_576)
SLURM = 500.0  # jobs/s, as its documentation says


def plot(table: list[dict[str, str]], path: pathlib.Path) -> None:
    """Draws grants per second and p99 by the number of GPUs. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (rate, tail) = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for load in dict.fromkeys(row["load"] for row in table):
        rows = [row for row in table if row["load"] == load]
        gpus = [int(row["gpus"]) for row in rows]
        rate.plot(gpus, [float(row["grants_per_s"]) for row in rows], marker="o", label=load)
        tail.plot(gpus, [float(row["p99_us"]) for row in rows], marker="o", label=load)
    rows = [row for row in table if row["load"] == MIXED]
    gpus = [int(row["gpus"]) for row in rows]
    floor = [float(row["floor_per_s"]) for row in rows]
    rate.plot(gpus, floor, "k:", label="floor: a bare free list")
    rate.axhline(SLURM, color="grey", linestyle="--", label="Slurm, published: 500 jobs/s")
    rate.set(xscale="log", yscale="log", xlabel="GPUs", ylabel="grants per second of one processor")
    tail.set(xscale="log", xlabel="GPUs", ylabel="p99 of an event that grants, µs", ylim=(0, None))
    rate.legend(fontsize="small")
    tail.legend(fontsize="small")
    figure.suptitle("Grants are decisions, not launches")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def run(effort: Effort, pinning: str) -> list[Line]:
    if not PROGRAM.exists():
        return [Line(12, WHAT, skipped=f"{PROGRAM.relative_to(ROOT)} is not built: make bench")]
    grants = effort.pick(200_000, 20_000)
    output = subprocess.run(
        [PROGRAM, str(grants)], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ).stdout.decode()
    table = list(csv.DictReader(io.StringIO(output)))
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "allocator.csv").write_text(output)
    try:
        plot(table, OUTPUT / "allocator.png")
        drawn = "build/bench/allocator.png"
    except ImportError:
        drawn = "no plot: matplotlib is not installed (pip install 'ionian[bench]')"
    lines = []
    for row in table:
        if int(row["gpus"]) not in SIZES or row["load"] != MIXED:
            continue
        rate, p99 = float(row["grants_per_s"]), float(row["p99_us"])
        has_rate_goal = int(row["gpus"]) == SIZES[0]
        lines.append(
            Line(
                12,
                f"{WHAT}, {int(row['gpus']):,} GPUs",
                unit="/s",
                ours=(rate, rate),
                peer="Slurm, published",
                theirs=(SLURM, SLURM),
                floor=float(row["floor_per_s"]),
                floor_name="push and pop of a bare free list",
                goal="≥ 1 M/s, p99 ≤ 10 µs" if has_rate_goal else "p99 ≤ 10 µs",
                reached=p99 <= 10 and (rate >= 1e6 or not has_rate_goal),
                note=f"p99 {p99:.2f} µs, {row['bytes_per_gpu']} bytes per GPU; {drawn}",
            )
        )
    return lines
