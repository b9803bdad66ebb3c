"""On real GPUs: what is found, what a function sees, who waits for whom."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

import pytest

import ionian
from ionian import _core, exception

pytestmark = pytest.mark.gpu
torch_only = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import torch"], capture_output=True).returncode != 0,
    reason="needs torch",
)

app = ionian.App("real")


@app.function(gpu="any", serialized=True)
def what_torch_sees() -> tuple[int, str, str, float]:
    import torch

    x = torch.ones(256, 256, device="cuda")
    uuid = str(torch.cuda.get_device_properties(0).uuid)
    return torch.cuda.device_count(), uuid, os.environ["CUDA_VISIBLE_DEVICES"], float((x @ x).sum())


@contextlib.contextmanager
def program(code: str, *arguments: str) -> Iterator[Any]:
    """Runs Python code until it prints "ready"; kills it in the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def devices() -> list[_core.Device]:
    return _core.read_inventory().devices


def test_the_inventory_is_of_the_driver() -> None:
    inventory = _core.read_inventory()
    assert inventory.source == "nvml" and inventory.driver_version and inventory.library_path
    for device in inventory.devices:
        assert device.uuid.startswith("GPU-") and device.pci_bus_id and not device.simulated
        assert device.memory_bytes > 1 << 30 and device.compute_capability >= (3, 0)
        assert _core.find_model(device.type) is not None, f"the catalog lacks {device.name}"
    assert inventory.topology.size == len(inventory.devices)
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"], capture_output=True, text=True
    )
    if listed.returncode == 0:
        assert {device.uuid for device in inventory.devices} <= set(listed.stdout.split())


@torch_only
def test_a_function_sees_exactly_the_gpu_that_is_leased() -> None:
    with app.run():
        count, uuid, visible, total = what_torch_sees.remote()
        assert count == 1
        assert visible.removeprefix("GPU-") == uuid.removeprefix("GPU-")
        assert total == 256.0**3
        assert what_torch_sees.remote()[2] == visible, "a warm worker keeps its GPU"


def test_two_programs_never_hold_a_gpu_together() -> None:
    count = len(devices())
    code = """
        import ionian, sys, time
        lease = ionian.lease(sys.argv[1])
        print("ready", flush=True)
        time.sleep(1000)
    """
    device = devices()[0]
    request = f"{device.type}:{sum(d.type == device.type for d in devices())}"
    with program(code, request) as holder:
        with pytest.raises(exception.LeaseTimeoutError, match=f"pid {holder.pid}"):
            ionian.lease(request, timeout=0.05)
        holder.send_signal(signal.SIGKILL)
        with ionian.lease(request, timeout=10) as lease:
            assert 1 <= len(lease.devices) <= count


@torch_only
def test_a_stranger_is_seen_named_and_waited_for() -> None:
    if len(devices()) != 1:
        pytest.skip("with several GPUs another one is granted")
    code = """
        import torch, time
        x = torch.zeros(1 << 20, device="cuda")
        print("ready", flush=True)
        time.sleep(1000)
    """
    with program(code) as stranger:
        processes = devices()[0].processes
        if not processes:
            pytest.skip("the driver of this container does not list processes")
        with pytest.raises(exception.LeaseTimeoutError, match="used outside ionian"):
            ionian.lease("any", timeout=0.2)
        stranger.kill()
        with ionian.lease("any", timeout=20) as lease:
            assert lease.devices[0].uuid == devices()[0].uuid


def test_an_upgrade_is_granted_and_an_exact_name_is_not() -> None:
    if {device.type for device in devices()} != {"H200"}:
        pytest.skip("needs a machine with H200 alone")
    with ionian.lease("H100", timeout=10) as lease:
        assert lease.devices[0].type == "H200"
    with pytest.raises(exception.UnsatisfiableError, match="H200"):
        ionian.lease("H100!")


@torch_only
def test_a_module_that_starts_cuda_at_import_gets_fresh_processes_and_a_warning(tmp_path) -> None:
    script = tmp_path / "eager.py"
    script.write_text(
        textwrap.dedent("""
            import ionian, torch
            torch.zeros(1, device="cuda") if not ionian.is_local() else None
            app = ionian.App("eager")
            @app.function(gpu="any")
            def f():
                return torch.cuda.device_count(), float(torch.ones(3, device="cuda").sum())
            if __name__ == "__main__":
                with app.run():
                    print(f.remote())
        """)
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100)
    assert ended.stdout == "(1, 3.0)\n", ended.stderr
    assert "fresh processes" in ended.stderr and "torch" in ended.stderr


@torch_only
def test_a_killed_holders_gpu_comes_back_after_its_memory_is_gone() -> None:
    code = """
        import ionian, os, time
        app = ionian.App("holder")
        @app.function(gpu="any", serialized=True)
        def hold():
            import torch
            x = torch.zeros(1 << 30, dtype=torch.uint8, device="cuda")
            torch.cuda.synchronize()
            print("ready", flush=True)
            time.sleep(1000)
        with app.run():
            hold.remote()
    """
    with program(code) as holder:
        begin = time.monotonic()
        holder.send_signal(signal.SIGKILL)
        with ionian.lease("any", timeout=30) as lease:
            print(f"granted {time.monotonic() - begin:.3f} s after the kill")
            device = next(d for d in devices() if d.uuid == lease.devices[0].uuid)
            assert not device.processes


@torch_only
def test_a_killed_holder_of_a_slice_leaves_it_to_the_next_and_the_other_slice_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IONIAN_SPLIT", "2")
    uuid = devices()[0].uuid.partition("/")[0]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", uuid)
    code = """
        import ionian, time
        app = ionian.App("holder")
        @app.function(gpu="any", serialized=True)
        def hold():
            import torch
            x = torch.zeros(1 << 30, dtype=torch.uint8, device="cuda")
            torch.cuda.synchronize()
            print("ready", flush=True)
            time.sleep(1000)
        with app.run():
            hold.remote()
    """
    with program(code) as victim, program(code) as other:
        with pytest.raises(exception.LeaseTimeoutError):
            ionian.lease("any", timeout=0.2)
        begin = time.monotonic()
        victim.send_signal(signal.SIGKILL)
        with ionian.lease("any", timeout=30) as lease:
            print(f"the slice was granted {time.monotonic() - begin:.3f} s after the kill")
            assert lease.devices[0].uuid.startswith(uuid + "/")
        assert other.poll() is None
