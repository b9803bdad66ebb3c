"""Runs one group of rows: ``python -m tests_py.bench.row GROUP PINNING quick|full FILE``.

The process has nothing loaded but what its rows need. Results go to FILE as JSON.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys


def main(group: str, pinning: str, effort: str, path: str) -> None:
    from .floors import die_with_parent
    from .result import Effort

    die_with_parent()

    module, _, function = group.partition(":")
    rows = importlib.import_module(f"tests_py.bench.rows.{module}")
    lines = getattr(rows, function or "run")(Effort(effort == "quick"), pinning)
    with open(path, "w") as file:
        json.dump([dataclasses.asdict(line) for line in lines], file)


if __name__ == "__main__":
    main(*sys.argv[1:])
