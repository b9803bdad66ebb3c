"""Every example runs, on simulated GPUs and, where there is one, on a real one."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

import ionian

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLES = {
    "hello_gpu.py": ([], "the second call found it warm"),
    "digits_sweep.py": (["--epochs", "3"], "9 trainings on"),
    "fallbacks.py": (["--calls", "10"], "this machine can never grant it"),
    "multi_gpu.py": ([], "device 1: GPU-"),
    "train_subprocess.py": (["--epochs", "2"], "exit code 0"),
    "all_reduce.py": (["--megabytes", "2"], "rank 1: 1 + … + 2 = 3"),
    "tensor_parallel.py": (["--width", "128"], "farthest from one GPU"),
    "train_ddp.py": ([], "rank 1 with "),
    "train_spawn.py": ([], "rank 1 learned weight 3.0"),
}
ON_ONE_GPU = EXAMPLES | {"multi_gpu.py": (["--gpus", "1"], "device 0: GPU-")}
#: Examples for two GPUs; where there is one they run on its slices.
FOR_TWO = {
    "train_subprocess.py",
    "all_reduce.py",
    "tensor_parallel.py",
    "train_ddp.py",
    "train_spawn.py",
}


def run(name: str, options: list[str], arguments: list[str]) -> str:
    path = ROOT / "examples" / "python" / name
    ended = subprocess.run(
        [sys.executable, "-m", "ionian", "run", *options, str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def needs(name: str) -> None:
    if name in ("digits_sweep.py", "train_ddp.py"):
        pytest.importorskip("sklearn", reason="needs scikit-learn")


def test_each_example_is_in_the_table() -> None:
    assert {path.name for path in (ROOT / "examples" / "python").glob("*.py")} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_on_simulated_gpus(name: str) -> None:
    needs(name)
    arguments, text = EXAMPLES[name]
    assert text in run(name, ["--simulate", "A10G:2"], arguments)


@pytest.mark.gpu
@pytest.mark.parametrize("name", EXAMPLES)
def test_on_a_real_gpu(name: str) -> None:
    needs(name)
    arguments, text = ON_ONE_GPU[name]
    alone = len(ionian.inventory().devices) < 2
    out = run(name, ["--split", "2"] if alone and name in FOR_TWO else [], arguments)
    print(out)
    assert text in out
    assert "simulated" not in out


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_notebook"])
def test_lightnings_own_launchers_work_on_simulated_gpus(strategy: str) -> None:
    pytest.importorskip("pytorch_lightning")
    out = run("train_spawn.py", ["--simulate", "A10G:2"], ["--lightning", strategy])
    assert "rank 0 learned weight 3.0" in out


@pytest.mark.gpu
@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_notebook"])
def test_lightnings_own_launchers_work_inside_a_function(strategy: str) -> None:
    pytest.importorskip("pytorch_lightning")
    alone = len(ionian.inventory().devices) < 2
    options = ["--split", "2"] if alone else []
    assert "rank 0 learned weight 3.0" in run("train_spawn.py", options, ["--lightning", strategy])


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The C++ package as `cmake --install` leaves it."""
    build = next(
        (
            ROOT / "build" / name
            for name in ("default", "dev")
            if (ROOT / "build" / name / "build.ninja").exists()
        ),
        None,
    )
    if build is None:
        pytest.skip("no CMake build here; `make build-cpp` makes it")
    prefix = tmp_path_factory.mktemp("prefix")
    command = ["cmake", "--install", str(build), "--prefix", str(prefix), "--component", "cpp"]
    subprocess.run(command, check=True, capture_output=True)
    return prefix


def all_reduce_of(request: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = ROOT / "build" / "default" / "examples" / "cpp" / "all_reduce"
    if not program.exists():
        pytest.skip("no CMake build here; `make build-cpp` makes it")
    return subprocess.run(
        [str(program), request],
        capture_output=True,
        text=True,
        timeout=110,
        env=dict(os.environ) | environment,
    )


def test_a_program_in_cpp_reduces_between_the_gpus_of_its_lease() -> None:
    ended = all_reduce_of("H100:3", IONIAN_GPUS="H100:3")
    assert ended.returncode == 0, ended.stderr
    assert "rank 2 on H100: 2304, expected 2304" in ended.stdout
    none = all_reduce_of("any", IONIAN_NVML_LIBRARY="/nowhere.so")
    assert none.returncode == 1 and "no GPU" in none.stderr


@pytest.mark.gpu
def test_a_program_in_cpp_reduces_on_real_gpus() -> None:
    count = len(ionian.inventory().devices)
    ended = all_reduce_of(f"any:{count}")
    print(ended.stdout)
    assert ended.returncode == 0, ended.stderr
    assert f"rank {count - 1} on " in ended.stdout


def test_an_outside_cmake_project_finds_the_installed_package(installed, tmp_path) -> None:
    project = ROOT / "examples" / "cmake_project"
    configure = [
        "cmake",
        "-S",
        str(project),
        "-B",
        str(tmp_path),
        f"-DCMAKE_PREFIX_PATH={installed}",
    ]
    subprocess.run(configure, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", str(tmp_path)], check=True, capture_output=True)
    environment = dict(os.environ) | {"IONIAN_GPUS": "A10G:2"}
    command = [str(tmp_path / "lease"), "H100", "A10G:2"]
    ended = subprocess.run(command, input="\n", capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("GPU-") == 4 and "leased for [H100, A10G:2]" in ended.stdout
    refused = subprocess.run([command[0], "H1O0"], capture_output=True, text=True, env=environment)
    assert refused.returncode == 1 and '"H100"' in refused.stderr
