"""``ionian doctor --gpus``: what it makes of figures, and what it does without a GPU."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest

import ionian
from ionian.cli.preflight import Measured, Pair, complaints, model_of, parse_conditions


def h100(**more: object) -> Measured:
    """A healthy H100 SXM, as it was measured on one."""
    device = ionian.inventory(simulate="H100:1").devices[0]
    healthy = Measured(
        device, model_of(device), to_gpu=55.3, from_gpu=54.0, memory=2990.0, matmul=780.0,
        dtype="bfloat16",
        condition={
            "pcie_gen": "5", "pcie_gen_max": "5", "pcie_width": "16", "pcie_width_max": "16",
            "ecc_errors": "0", "thermal": "Not Active",
        },
    )  # fmt: skip
    condition = healthy.condition | more.pop("condition", {})  # type: ignore[operator]
    return dataclasses.replace(healthy, **more, condition=condition)  # type: ignore[arg-type]


NVLINKED = Pair(0, 1, "NV", 18, True, copy=390.0, all_reduce=330.0)

ILL: dict[str, tuple[Measured, Pair, str]] = {
    "slow memory": (h100(memory=1500.0), NVLINKED, "its memory moves 1500 GB/s of 33"),
    "slow products": (h100(matmul=300.0), NVLINKED, "300 TFLOP/s of 9"),
    "a narrow slot": (h100(condition={"pcie_width": "8"}), NVLINKED, "PCIe x8 where x16"),
    "slow copies": (h100(to_gpu=12.0), NVLINKED, "copies to it reach 12 GB/s of 63"),
    "ECC": (h100(condition={"ecc_errors": "3"}), NVLINKED, "3 uncorrected ECC errors"),
    "heat": (h100(condition={"thermal": "Active"}), NVLINKED, "too hot"),
    "NVLink at the speed of PCIe": (h100(), Pair(0, 1, "NV", 18, True, 25.0, 20.0), "PCIe"),
    "NVLink that is hidden": (h100(), Pair(0, 1, "NV", 18, False, 25.0, 20.0), "no direct access"),
    "no peers": (h100(), Pair(0, 1, "SYS", 0, False, 20.0, 10.0), "through the host"),
    "a slow all-reduce": (h100(), Pair(0, 1, "NV", 18, True, 390.0, 9.0), "all-reduce reaches 9"),
}


def test_healthy_gpus_are_not_complained_of() -> None:
    assert list(complaints([h100(), h100()], [NVLINKED])) == []
    assert list(complaints([h100()], [Pair(0, 1, "NODE", 0, True, 40.0, 30.0)])) == []


@pytest.mark.parametrize("ill", ILL)
def test_each_ill_is_named_once(ill: str) -> None:
    gpu, pair, text = ILL[ill]
    said = list(complaints([gpu], [pair]))
    assert len(said) == 1 and text in said[0], said


def test_what_could_not_be_measured_is_no_fault() -> None:
    unknown = h100(memory=None, matmul=None, to_gpu=None, from_gpu=None)
    assert list(complaints([unknown], [Pair(0, 1, "NV", 18)])) == []


def test_conditions_are_read_from_nvidia_smi() -> None:
    text = "GPU-1, 5, 5, 8, 16, [N/A], Not Active, Not Active, Active\nsomething else\n"
    (condition,) = parse_conditions(text).values()
    assert condition["pcie_width"] == "8" and condition["power_brake"] == "Active"
    gpu = h100()
    gpu.condition = condition
    said = list(complaints([gpu], []))
    assert len(said) == 2 and "power supply" in said[1]


def test_forms_of_a_model_are_told_apart() -> None:
    device = ionian.inventory(simulate="H100:1").devices[0]
    model = model_of(device)
    assert model is not None and model.type == "H100"


def doctor(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ionian", "doctor", "--gpus"],
        capture_output=True,
        text=True,
        timeout=110,
        env=dict(os.environ) | environment,
    )


def test_simulated_gpus_are_not_measured() -> None:
    ended = doctor(IONIAN_GPUS="A10G:1")
    assert ended.returncode == 1
    assert "no real GPU to measure: they are simulated" in ended.stdout


@pytest.mark.gpu
def test_real_gpus_are_measured_beside_their_data_sheets() -> None:
    ended = doctor()
    print(ended.stdout, ended.stderr)
    assert "host → GPU GB/s" in ended.stdout and "TFLOP/s" in ended.stdout
    devices = ionian.inventory().devices
    assert all(device.uuid in ended.stdout for device in devices)
    assert (" – " in ended.stdout) == (len(devices) > 1)


@pytest.mark.gpu
def test_a_gpu_in_use_is_left_alone() -> None:
    device = ionian.inventory().devices[0]
    with ionian.lease(device.uuid):
        ended = doctor()
    assert f"{device.uuid}: in use" in ended.stdout
