"""NVIDIA's driver on a machine without a GPU: the fakes of tests_cpp/support, built once a session."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[1]

A = "GPU-00000000-0000-0000-0000-00000000000a"
B = "GPU-00000000-0000-0000-0000-00000000000b"
C = "GPU-00000000-0000-0000-0000-00000000000c"
D = "GPU-00000000-0000-0000-0000-00000000000d"
MIG = "MIG-00000000-0000-0000-0000-000000000001"


def build(name: str, directory: pathlib.Path) -> str:
    """Returns the path of a fake library, built where it is not there yet."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler for the fake driver")
    library = directory / f"lib{name}.so"
    if not library.exists():
        source = ROOT / "tests_cpp" / "support" / name / f"{name}.cpp"
        include = [f"-I{ROOT / 'cpp' / part}" for part in ("src", "include")]
        subprocess.run(
            [compiler, "-std=c++20", "-shared", "-fPIC", *include, source, "-o", library],
            check=True,
        )
    return str(library)


def gpu(uuid: str, **more: object) -> str:
    """Returns a line that puts an A10G into the fake machine."""
    fields = {
        "uuid": uuid,
        "name": "NVIDIA A10G",
        "total": 24_000_000_000,
        "used": 500_000_000,
        "bus": f"00000000:{uuid[-1].upper()}0:00.0",
        **more,
    }
    return "gpu " + ";".join(f"{key}={value}" for key, value in fields.items()) + "\n"


class Driver:
    """The fake NVML as a file: statements are those of fake_nvml.cpp."""

    def __init__(self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
        self.path = path
        self.say(gpu(A) + gpu(B))
        monkeypatch.setenv("FAKE_NVML", str(path))
        monkeypatch.setenv("IONIAN_NVML_LIBRARY", library)

    def say(self, machine: str) -> None:
        """Replaces the machine; a reader sees the old one or the new one."""
        following = self.path.with_suffix(".next")
        following.write_text(machine)
        following.rename(self.path)

    def report(self, uuid: str, xid: int) -> None:
        with open(f"{self.path}.events", "a") as file:
            file.write(f"{uuid} {xid}\n")

    def watches(self, uuid: str) -> bool:
        """Returns whether somebody has asked for the events of a GPU."""
        watched = pathlib.Path(f"{self.path}.watched")
        return watched.exists() and uuid in watched.read_text().split()

    def release(self) -> None:
        """Lets calls that hang return."""
        pathlib.Path(f"{self.path}.release").touch()
