"""Nothing of a run has a name in a folder that others share: no file, no memory, no socket."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

SCRIPT = """
import json, os, pathlib, ionian

app = ionian.App("paths")
LOCKS = os.environ["IONIAN_LOCK_DIR"]

def processes():
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            environ = pathlib.Path("/proc", entry, "environ").read_bytes()
        except OSError:
            continue
        if f"IONIAN_LOCK_DIR={LOCKS}".encode() in environ.split(bytes(1)):
            yield pathlib.Path("/proc", entry)

def named():
    \"\"\"Returns every path that a process of the run has open or mapped, and its named sockets.\"\"\"
    paths, inodes, seen = set(), set(), 0
    for process in processes():
        seen += 1
        for fd in (process / "fd").iterdir():
            try:
                target = os.readlink(fd)
            except OSError:
                continue
            paths.add(target)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
        for line in (process / "maps").read_text().splitlines():
            paths.add(line.split(maxsplit=5)[5] if len(line.split(maxsplit=5)) > 5 else "")
    sockets = []
    for line in pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[6] in inodes:
            sockets.append(fields[7])
    return seen, sorted(paths), sockets

@app.function(gpu="T4")
def alone(payload):
    return len(payload), named()

@app.function(gpu="T4:2")
@ionian.spmd()
def gang():
    ionian.communicator().barrier()
    return named()

with app.run():
    size, first = alone.remote(bytes(3_000_000))
    assert size == 3_000_000
    print(json.dumps([first, gang.remote()]))
"""

SHARED = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/lock/")


def test_a_run_opens_nothing_in_a_shared_folder_but_its_locks(world):
    script = world / "script.py"
    script.write_text(SCRIPT)
    temporary = world / "tmp"
    temporary.mkdir()
    result = subprocess.run(
        [sys.executable, str(script)],
        env=dict(os.environ, IONIAN_GPUS="T4:2", TMPDIR=str(temporary)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    for seen, paths, sockets in json.loads(result.stdout.splitlines()[-1]):
        assert seen >= 4, "caller, guardian, launcher and worker were looked at"
        shared = [path for path in paths if path.startswith(SHARED)]
        # The program itself may be installed anywhere.
        shared = [path for path in shared if not path.startswith(sys.prefix)]
        assert [path for path in shared if not path.startswith(str(world))] == []
        own = [path for path in shared if path.startswith(str(world))]
        assert [path for path in own if not path.startswith(str(world / "locks"))] == []
        assert any("memfd:" in path for path in paths), "the channel's memory was looked at"
        assert sockets == [], "no socket has a name"
    assert list(temporary.iterdir()) == []


def test_the_lock_directory_holds_plain_files_and_is_ours_alone(world):
    script = world / "script.py"
    script.write_text(SCRIPT)
    subprocess.run(
        [sys.executable, str(script)],
        env=dict(os.environ, IONIAN_GPUS="T4:2"),
        check=True,
        capture_output=True,
        timeout=120,
    )
    locks = world / "locks"
    assert stat.S_IMODE(locks.stat().st_mode) == 0o700
    assert locks.stat().st_uid == os.geteuid()
    for entry in locks.iterdir():
        assert stat.S_ISREG(entry.lstat().st_mode), entry
