"""Random SIGKILLs of real runs: nothing may be left, and a fresh client must get every GPU."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

DRIVER = pathlib.Path(__file__).parent / "driver.py"
KILLS = int(os.environ.get("IONIAN_TEST_KILLS", "200"))


@pytest.mark.timeout(120 + 2 * KILLS)
def test_random_kills_leave_nothing_and_free_every_gpu(capsys):
    done = subprocess.run(
        [sys.executable, str(DRIVER), "--kills", str(KILLS)], capture_output=True, text=True
    )
    with capsys.disabled():
        print("\n" + done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
