"""Rows of the fault matrix that need real GPUs."""

from __future__ import annotations

import ctypes
import os
import signal

import pytest
from audit import children, wait_for

import ionian
from ionian import _core, exception

pytestmark = pytest.mark.gpu

app = ionian.App("matrix on gpus")

TRAP = b"""
.version 6.0
.target sm_50
.address_size 64
.visible .entry strike() { trap; }
\0"""


def launch_trap() -> int:
    """Runs a kernel that traps; returns what CUDA says of the context afterwards."""
    cuda = ctypes.CDLL("libcuda.so.1")
    context, module, kernel = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    cuda.cuInit(0)
    cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
    cuda.cuCtxSetCurrent(context)
    assert cuda.cuModuleLoadData(ctypes.byref(module), TRAP) == 0
    assert cuda.cuModuleGetFunction(ctypes.byref(kernel), module, b"strike") == 0
    no = ctypes.c_void_p()
    assert cuda.cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, no, no, no) == 0
    return int(cuda.cuCtxSynchronize())


@app.function(gpu="any", serialized=True)
def strike() -> int:
    return launch_trap()


@app.function(gpu="any", serialized=True)
def pid_and_gpu() -> tuple[int, str]:
    cuda = ctypes.CDLL("libcuda.so.1")
    context, memory = ctypes.c_void_p(), ctypes.c_void_p()
    assert cuda.cuInit(0) == 0
    assert cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
    assert cuda.cuCtxSetCurrent(context) == 0
    assert cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(1 << 20)) == 0
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]


def free_gpus() -> bool:
    return all(not device.processes for device in _core.read_inventory().devices)


def test_row36_a_worker_with_a_dead_context_is_replaced() -> None:
    with app.run(show_output=False):
        assert strike.remote() != 0
        assert strike.remote() != 0, "a context of its own each time, or the same error again"
        pid, gpu = pid_and_gpu.remote()
        os.kill(pid, signal.SIGKILL)
        again, same = pid_and_gpu.remote()
        assert again != pid and gpu and same
    assert wait_for(free_gpus, 30)


def gang_of_two() -> str:
    """Returns a request for two GPUs of one model, or skips."""
    types = [device.type for device in _core.read_inventory(processes=False).devices]
    pairs = [each for each in set(types) if types.count(each) >= 2]
    if not pairs:
        pytest.skip("needs two GPUs of one model")
    return f"{pairs[0]}:2"


def test_row41_a_skipped_collective_ends_with_every_stack() -> None:
    gang = ionian.App("skips")

    @gang.function(gpu=gang_of_two(), serialized=True, timeout=20)
    @ionian.spmd()
    def skips() -> None:
        import ctypes as c

        import ionian as i

        communicator = i.communicator(timeout=60)
        if i.rank() == 0:
            return
        cuda, memory = c.CDLL("libcuda.so.1"), c.c_void_p()
        assert cuda.cuMemAlloc_v2(c.byref(memory), c.c_size_t(1 << 20)) == 0
        communicator.barrier()

    with gang.run(show_output=False):
        with pytest.raises((exception.FunctionTimeoutError, exception.RankError)) as raised:
            skips.remote()
        assert "rank 1" in str(raised.value)
    assert wait_for(free_gpus, 30)


def test_row43_the_guardian_of_a_gang_is_killed_on_gpus() -> None:
    gang = ionian.App("guardian")

    @gang.function(gpu=gang_of_two(), serialized=True)
    @ionian.spmd()
    def work(seconds: float) -> int:
        import time

        import ionian as i

        i.communicator(timeout=60).barrier()
        time.sleep(seconds)
        return i.world_size()

    with gang.run(show_output=False):
        assert work.remote(0) == 2
        call = work.spawn(600)
        (guardian,) = children()
        os.kill(guardian, signal.SIGKILL)
        with pytest.raises(exception.WorkerDiedError, match="guardian"):
            call.get(timeout=60)
        assert work.remote(0) == 2
    assert wait_for(free_gpus, 30)
