"""The inventory and the catalog, as Python sees them."""

from __future__ import annotations

import pytest

from ionian import _core
from ionian.exception import InvalidError


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IONIAN_GPUS", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)


def test_a_simulated_machine() -> None:
    inventory = _core.read_inventory(simulate="A10G:2,H100:2")
    assert inventory.source == "simulated"
    assert [device.type for device in inventory.devices] == ["A10G", "A10G", "H100", "H100"]
    device = inventory.devices[3]
    assert device.index == 3
    assert device.compute_capability == (9, 0)
    assert device.memory_bytes == 80 << 30
    assert device.simulated
    assert device.processes == []
    assert inventory.topology.size == 4
    assert inventory.topology.link(2, 3) == "NV"
    assert inventory.topology.nvlinks(2, 3) == 18
    assert inventory.topology.link(0, 1) == "PIX"
    assert inventory.topology.link(0, 0) == "X"


def test_none_means_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IONIAN_GPUS", "L4:3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    everything = _core.read_inventory(visible_devices="0,1,2").devices
    devices = _core.read_inventory().devices
    assert [device.uuid for device in devices] == [everything[2].uuid, everything[0].uuid]
    assert _core.read_inventory(simulate="T4", visible_devices="0").devices[0].type == "T4"


def test_a_missing_driver_gives_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IONIAN_NVML_LIBRARY", "/nowhere/libnvidia-ml.so.1")
    inventory = _core.read_inventory()
    assert inventory.source == "none"
    assert inventory.devices == []
    assert "/nowhere/libnvidia-ml.so.1" in inventory.reason
    assert "IONIAN_GPUS" in inventory.reason


@pytest.mark.parametrize("spec", ["", "A10G:2,", "foo", "any:2", "A10G:0"])
def test_a_malformed_simulation_is_an_invalid_error(spec: str) -> None:
    with pytest.raises(InvalidError, match="at byte"):
        _core.read_inventory(simulate=spec)


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan")])
def test_a_timeout_is_above_zero(timeout: float) -> None:
    with pytest.raises(InvalidError, match="timeout"):
        _core.read_inventory(timeout=timeout)


def test_links_outside_the_machine_are_an_error() -> None:
    with pytest.raises(IndexError):
        _core.read_inventory(simulate="T4").topology.link(0, 1)


def test_the_catalog_states_figures_and_sources() -> None:
    model = _core.find_model("a10")
    assert model is not None
    assert model.type == "A10G"
    assert model.architecture == "Ampere"
    assert model.compute_capability == (8, 6)
    assert model.memory_gb == 24
    assert model.rates["bf16"] == 70
    assert model.usd_per_second == 0.000306
    assert model.aliases == ["A10"]
    assert model.source
    assert _core.find_model("nothing") is None
    assert len(_core.catalog()) > 100
