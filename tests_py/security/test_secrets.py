"""Values of env= are in no process's arguments, nor in what its environment shows to other processes."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

SECRET = "s3cr3t-f0r-the-worker-only"

SCRIPT = """
import os, sys, ionian

app = ionian.App("secrets")
VALUE = "".join({parts!r})  # the value itself is in no file either

@app.function(env={{"API_TOKEN": VALUE, "OMP_NUM_THREADS": "3"}})
def look():
    import check
    return os.environ.get("API_TOKEN"), os.environ.get("OMP_NUM_THREADS"), check.processes_with(VALUE)

@app.function(env={{"API_TOKEN": VALUE}}, serialized=True)
def nested():
    import check
    inner = ionian.App("inner")

    @inner.function(serialized=True)
    def deep():
        import os
        return os.environ.get("API_TOKEN")

    with inner.run():
        seen = deep.remote()
        return seen, None, check.processes_with(VALUE)

@app.function(gpu="any:2", env={{"API_TOKEN": VALUE, "MASTER_PORT": "1"}})
@ionian.spmd(gather=True)
def ranks():
    import check
    return os.environ.get("API_TOKEN"), os.environ["MASTER_PORT"] != "1", check.processes_with(VALUE)

{top}
with app.run():
    print(repr({call}))
"""

CHECK = '''
import os, pathlib

def processes_with(value):
    """Returns the files of processes of this run (and all others) that show the value, with how many were read."""
    shown, read = [], 0
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        for name in ("cmdline", "environ"):
            try:
                content = pathlib.Path("/proc", entry, name).read_bytes()
            except OSError:
                continue
            read += b"IONIAN_RUN=" in content
            if value.encode() in content:
                shown.append(f"{entry}/{name}: {content[:200]!r}")
    return shown, read
'''

#: Starts a thread at import, so that workers are started afresh instead of forked.
UNFORKABLE = (
    "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
)


def run(world: pathlib.Path, call: str, top: str = "") -> tuple[object, ...]:
    (world / "check.py").write_text(CHECK)
    script = world / "script.py"
    script.write_text(SCRIPT.format(parts=list(SECRET), call=call, top=top))
    result = subprocess.run(
        [sys.executable, str(script)],
        env=dict(os.environ, IONIAN_GPUS="T4:2"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return eval(result.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("top", ["", UNFORKABLE], ids=["forked", "afresh"])
def test_a_worker_has_the_value_and_no_process_shows_it(world, top):
    value, threads, (shown, processes) = run(world, "look.remote()", top)
    assert value == SECRET
    assert threads == "3"
    assert shown == []
    assert processes >= 3, "guardian, launcher and worker were looked at"


def test_a_nested_run_hands_the_value_on_and_does_not_show_it(world):
    value, _, (shown, processes) = run(world, "nested.remote()")
    assert value == SECRET
    assert shown == []
    assert processes >= 6


@pytest.mark.parametrize("top", ["", UNFORKABLE], ids=["forked", "afresh"])
def test_ranks_have_the_value_and_their_own_variables(world, top):
    for value, own, (shown, _) in run(world, "ranks.remote()", top):
        assert value == SECRET
        assert own
        assert shown == []
