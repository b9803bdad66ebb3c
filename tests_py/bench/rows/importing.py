"""Row 11: what `import ionian` adds to a bare interpreter.

Both sides read compiled modules, as an installed package has them: the compiler would cost ten times
as much as the import.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from ..measure import Ratio, Series, interleave, quantile
from ..result import Effort, Line, line

BARE = "pass"
IMPORT = "import ionian"
PEER = "import concurrent.futures.process"
READY = "import ionian; app = ionian.App('bench'); app.function(gpu='any')(lambda: None)"
_LOADED = (
    "import sys; {}; print(*(name for name in ('numpy', 'rich', 'click') if name in sys.modules))"
)
#: Less than this cannot be told from the noise of two process starts.
_RESOLUTION = 100e-6


def _start(code: str, env: dict[str, str]) -> float:
    begin = time.perf_counter()
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", code], env)
    _, status = os.waitpid(pid, 0)  # subprocess would look for the end only every 50 ms
    seconds = time.perf_counter() - begin
    if status != 0:
        raise RuntimeError(f"python -c {code!r} ended with status {status}")
    return seconds


def _loaded(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", _LOADED.format(code)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def _over_bare(series: Series, bare: list[list[float]]) -> Series:
    """Returns the samples with the bare interpreter's of the same block taken off."""
    floors = [quantile(block, 0.5) for block in bare]

    def off(blocks: list[list[float]]) -> list[list[float]]:
        return [
            [max(sample - floor, _RESOLUTION) for sample in block]
            for block, floor in zip(blocks, floors, strict=True)
        ]

    return Series(
        ours=off(series.ours),
        again=off(series.again),
        others={n: off(b) for n, b in series.others.items()},
    )


def run(effort: Effort, pinning: str) -> list[Line]:
    count = effort.pick(12, 2)
    with tempfile.TemporaryDirectory(prefix="ionian-bench-") as directory:
        env = {
            name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
        }
        env["PYTHONPYCACHEPREFIX"] = directory  # filled by the round that is thrown away

        def starts(code: str) -> list[float]:
            return [_start(code, env) for _ in range(count)]

        series = interleave(
            lambda: starts(IMPORT),
            {
                PEER: lambda: starts(PEER),
                "ready": lambda: starts(READY),
                "bare": lambda: starts(BARE),
            },
        )
    over = _over_bare(series, series.others["bare"])
    loaded = _loaded(READY)
    each = line(
        11, "import ionian, over bare python", over, PEER, floor=0.0, goal="≤ 10 ms, no numpy",
        note=f"python alone takes {quantile(series.all('bare'), 0.5) * 1e3:.1f} ms",
    )  # fmt: skip
    each.control = series.control()  # of whole starts: a difference of two is noisier than either
    assert each.ours is not None
    each.reached = each.ours[0] <= 10e-3 and "numpy" not in loaded.split()
    used = Line(
        11,
        "the same with an App and a function in it",
        ours=(quantile(over.all("ready"), 0.5), quantile(over.all("ready"), 0.99)),
        peer=PEER,
        theirs=each.theirs,
        ratio=_ratio(over),
        goal="≤ 10 ms, no numpy",
        note=f"also loaded: {loaded or 'nothing'} (of numpy, rich, click)",
    )
    assert used.ours is not None
    used.reached = used.ours[0] <= 10e-3 and "numpy" not in loaded.split()
    return [each, used]


def _ratio(over: Series) -> Ratio:
    return Series(
        ours=over.others["ready"], again=over.others["ready"], others={PEER: over.others[PEER]}
    ).ratio(PEER)
