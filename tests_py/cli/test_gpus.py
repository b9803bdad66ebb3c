"""``ionian gpus`` and ``ionian doctor``."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import ionian as package


def ionian(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ionian", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ) | environment,
    )


def test_the_table_says_what_there_is_and_who_uses_it() -> None:
    with package.lease("A10G", simulate="A10G:2"):
        ended = ionian("gpus", "--simulate", "A10G:2")
    assert ended.returncode == 0
    first, second = ended.stdout.splitlines()[1:3]
    assert "NVIDIA A10G (simulated)" in first and f"pid {os.getpid()}" in first
    assert second.rstrip().endswith("nobody")


def test_slices_are_shown_with_a_word_on_their_speed() -> None:
    ended = ionian("gpus", "--simulate", "A10G:1", "--split", "2")
    lines = ended.stdout.splitlines()
    assert lines[1].split()[1] == lines[2].split()[1] == "A10G"
    assert "/0 " in lines[1] and "/1 " in lines[2] and "(slice)" in lines[2]
    assert "times mean nothing" in lines[3]
    assert "times mean nothing" not in ionian("gpus", "--simulate", "A10G:1").stdout


def test_json_is_for_programs() -> None:
    with package.lease("H100:2", simulate="A10G:1,H100:2"):
        data = json.loads(ionian("gpus", "--simulate", "A10G:1,H100:2", "--json").stdout)
    assert [gpu["gpu"] for gpu in data["gpus"]] == ["A10G", "H100", "H100"]
    assert [gpu["state"] for gpu in data["gpus"]] == ["free", "leased", "leased"]
    assert data["gpus"][1]["lease"]["pid"] == os.getpid()
    assert data["gpus"][1]["links"] == ["NODE", "X", "NV"] or data["gpus"][1]["links"][1:] == [
        "X",
        "NV",
    ]


def test_the_topology_is_a_matrix() -> None:
    out = ionian("gpus", "--simulate", "H100:2", "--topology").stdout
    assert "NV18" in out


def test_no_gpu_is_said_with_the_reason_and_exit_code_1() -> None:
    ended = ionian("gpus", IONIAN_NVML_LIBRARY="/nowhere.so")
    assert ended.returncode == 1
    assert "no GPU: " in ended.stdout and "--simulate" in ended.stdout
    assert (
        json.loads(ionian("gpus", "--json", IONIAN_NVML_LIBRARY="/nowhere.so").stdout)["gpus"] == []
    )


def test_the_doctor_reports_each_part() -> None:
    ended = ionian("doctor", IONIAN_GPUS="A10G:1")
    for part in (
        "simulated GPUs",
        "lock directory",
        "guardian",
        "descriptors",
        "/dev/shm",
        "stale processes",
    ):
        assert part in ended.stdout
    assert "!!" not in ended.stdout.replace("!! descriptors", ""), ended.stdout


def test_the_doctor_finds_a_lock_directory_that_cannot_be_trusted(tmp_path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    ended = ionian("doctor", IONIAN_GPUS="A10G:1", IONIAN_LOCK_DIR=str(tmp_path / "link"))
    assert ended.returncode == 1
    assert "symbolic link" in ended.stdout
