"""GPUs that fail, drain and recover, as a program and the command line see them."""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from fakes import MIG, A, B, C, D, Driver, build, gpu

import ionian
from ionian import _core, exception

CUT = gpu(A, mig=1) + f"slice uuid={MIG};name=NVIDIA A10G MIG 1g.6gb;total=6000000000;instance=3\n"


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("fakes")


@pytest.fixture
def driver(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, libraries: pathlib.Path
) -> Driver:
    return Driver(tmp_path / "nvml", monkeypatch, build("fake_nvml", libraries))


app = ionian.App("health")


@app.function(gpu="A10G", serialized=True)
def where() -> str:
    return os.environ["CUDA_VISIBLE_DEVICES"]


@app.function(gpu="any", serialized=True)
def hold(begun: str, end: str) -> str:
    """Runs until the file ``end`` is there."""
    import pathlib
    import time

    pathlib.Path(begun).write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    while not os.path.exists(end):
        time.sleep(0.005)
    return os.environ["CUDA_VISIBLE_DEVICES"]


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def states() -> dict[str, _core.LeaseStatus]:
    book = _core.LeaseBook(_core.read_inventory())
    return {status.uuid: status for status in book.status()}


def command(*arguments: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "ionian", *arguments], capture_output=True, text=True, timeout=60
    )
    return ended.stdout + ended.stderr


def refusal(request: str) -> str:
    """Returns what a request that is not granted says while it waits."""
    book = _core.LeaseBook(_core.read_inventory())
    with pytest.raises(exception.LeaseTimeoutError) as raised:
        book.acquire(_core.GpuRequest.parse(request), timeout=0.05)
    return str(raised.value)


class Held:
    """A call that is under way on a GPU whose events somebody waits for."""

    def __init__(self, driver: Driver, path: pathlib.Path, watched: str | None = None) -> None:
        begun = path / "begun"
        self.end = path / "end"
        self.call = hold.spawn(str(begun), str(self.end))
        wait_until(lambda: begun.exists() and begun.read_text(), "the call begins")
        self.uuid = begun.read_text()
        wait_until(lambda: driver.watches(watched or self.uuid), "the guardian watches the GPU")


@pytest.mark.parametrize(("xid", "action"), [(79, "reboot"), (48, "nvidia-smi --gpu-reset")])
def test_a_gpu_that_fails_ends_its_call_and_the_next_gets_another(driver, tmp_path, xid, action):
    with app.run():
        held = Held(driver, tmp_path)
        driver.report(held.uuid, xid)
        with pytest.raises(exception.GpuUnhealthyError, match=f"Xid {xid}") as raised:
            held.call.get(timeout=60)
        other = B if held.uuid == A else A
        assert where.remote() == other
    error = raised.value
    assert (error.uuid, error.xid) == (held.uuid, xid)
    assert action in error.action and action in str(error)
    assert f"A10G {held.uuid}" in str(error)
    assert len(str(error).splitlines()[0]) < 200
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)
    assert states()[held.uuid].state == "quarantined"
    assert states()[other].state == "free"


@pytest.mark.parametrize("xid", [13, 31, 43, 45])
def test_a_programs_own_error_leaves_the_gpu_to_it(driver, tmp_path, xid):
    with app.run():
        held = Held(driver, tmp_path)
        driver.report(held.uuid, xid)
        driver.report(held.uuid, 63)  # comes after it, and shows that it was read
        wait_until(lambda: states()[held.uuid].quarantine, "the later event is seen")
        assert states()[held.uuid].state == "leased"
        assert states()[held.uuid].quarantine.xid == 63
        held.end.touch()
        assert held.call.get(timeout=60) == held.uuid


def test_a_worker_on_a_failed_gpu_that_had_not_begun_the_call_is_replaced_silently(
    driver, tmp_path
):
    with app.run():
        held = Held(driver, tmp_path)
        behind = hold.spawn(str(tmp_path / "begun too"), str(tmp_path / "end too"))
        (tmp_path / "end too").touch()
        driver.report(held.uuid, 79)
        with pytest.raises(exception.GpuUnhealthyError):
            held.call.get(timeout=60)
        assert behind.get(timeout=60) in (A, B)


@app.function(gpu="A10G", retries=ionian.Retries(max_retries=2, initial_delay=0), serialized=True)
def hold_again(entered: str, end: str) -> str:
    """Writes a line into ``entered``, then runs until the file ``end`` is there."""
    import time

    uuid = os.environ["CUDA_VISIBLE_DEVICES"]
    with open(entered, "a") as file:
        file.write(uuid + "\n")
    while not os.path.exists(end):
        time.sleep(0.005)
    return uuid


class Attempts:
    """A call with two retries that is under way, and the GPUs on which its body was entered."""

    def __init__(self, driver: Driver, path: pathlib.Path) -> None:
        self.driver = driver
        self.entered = path / "entered"
        self.entered.touch()
        self.end = path / "end"
        self.call = hold_again.spawn(str(self.entered), str(self.end))

    def uuids(self) -> list[str]:
        return self.entered.read_text().splitlines()

    def fail(self, attempt: int) -> None:
        """Waits for an attempt, 1 for the first, and fails the GPU that it runs on."""
        wait_until(lambda: len(self.uuids()) == attempt, f"attempt {attempt} begins")
        uuid = self.uuids()[-1]
        wait_until(lambda: self.driver.watches(uuid), "the guardian watches the GPU")
        self.driver.report(uuid, 79)


@pytest.mark.parametrize("failures", [1, 2])
def test_a_call_whose_gpu_fails_is_tried_again_on_another_gpu(driver, tmp_path, failures):
    driver.say(gpu(A) + gpu(B) + gpu(C))
    with app.run():
        attempts = Attempts(driver, tmp_path)
        for attempt in range(1, failures + 1):
            attempts.fail(attempt)
        wait_until(lambda: len(attempts.uuids()) == failures + 1, "the next attempt begins")
        attempts.end.touch()
        assert attempts.call.get(timeout=60) == attempts.uuids()[-1]
    used = attempts.uuids()
    assert len(used) == failures + 1
    assert len(set(used)) == failures + 1, "a GPU that failed was used again"
    assert {uuid for uuid, each in states().items() if each.state == "quarantined"} == set(
        used[:-1]
    )


def test_a_call_whose_gpu_fails_each_time_is_entered_once_and_for_each_retry(driver, tmp_path):
    driver.say(gpu(A) + gpu(B) + gpu(C) + gpu(D))
    with app.run():
        attempts = Attempts(driver, tmp_path)
        for attempt in (1, 2, 3):
            attempts.fail(attempt)
        with pytest.raises(exception.GpuUnhealthyError, match="all 3 attempts") as raised:
            attempts.call.get(timeout=60)
        assert raised.value.uuid == attempts.uuids()[-1]
        attempts.end.touch()
        [left] = {A, B, C, D} - set(attempts.uuids())
        assert where.remote() == left
    assert len(attempts.uuids()) == 3


def test_a_call_whose_only_gpu_failed_is_tried_again_when_the_gpu_is_well(
    driver, tmp_path, monkeypatch
):
    monkeypatch.setenv("IONIAN_PROBE_PAUSES", "0.1")
    driver.say(gpu(A))
    with app.run():
        attempts = Attempts(driver, tmp_path)
        driver.say(gpu(A, remap_pending=1))  # it stays ill
        attempts.fail(1)
        wait_until(lambda: states()[A].state == "quarantined", "the failure is seen")
        assert attempts.uuids() == [A]
        attempts.end.touch()
        driver.say(gpu(A))
        assert attempts.call.get(timeout=60) == A
    assert attempts.uuids() == [A, A]


def test_a_mig_instance_that_is_gone_ends_its_call(driver, tmp_path):
    driver.say(CUT)
    with app.run():
        held = Held(driver, tmp_path, watched=A)
        driver.say(gpu(A, mig=0))
        with pytest.raises(exception.GpuUnhealthyError, match="MIG instance gone") as raised:
            held.call.get(timeout=60)
    assert (raised.value.uuid, raised.value.xid) == (MIG, None)
    with app.run():
        assert where.remote() == A  # counted anew


def test_a_call_waits_for_a_quarantined_gpu_and_runs_when_it_is_well(driver, tmp_path, monkeypatch):
    monkeypatch.setenv("IONIAN_PROBE_PAUSES", "0.1")
    driver.say(gpu(A))
    with app.run():
        held = Held(driver, tmp_path)
        driver.say(gpu(A, handle_error=15))
        with pytest.raises(exception.GpuUnhealthyError, match="GPU is lost"):
            held.call.get(timeout=60)
        driver.say(gpu(A, memory_error=15))
        waiting = where.spawn()
        assert "not possible now, but later" in refusal("A10G")
        with pytest.raises(TimeoutError):
            waiting.get(timeout=0.3)
        driver.say(gpu(A))
        assert waiting.get(timeout=60) == A
    assert states()[A].state == "free"


def test_a_lost_gpu_does_not_keep_the_others_from_being_used(driver):
    driver.say(gpu(A, memory_error=15) + gpu(B))
    with app.run():
        assert where.remote() == B
    assert "GPU is lost" in refusal("A10G:2")
    driver.say(gpu(A, handle_error=15) + gpu(B))  # now it does not even say its UUID
    with app.run():
        assert where.remote() == B
    assert "is left out: GPU is lost" in command("gpus")


def test_a_gpu_drains_while_something_is_on_it_and_is_free_afterwards(driver):
    def clear() -> None:
        wait_until(lambda: states()[A].state == "draining", "the GPU drains")
        driver.say(gpu(A))

    driver.say(gpu(A))
    clearing = threading.Thread(target=clear)
    with app.run():
        assert where.remote() == A
        driver.say(gpu(A, processes="2147483000:5"))
        clearing.start()
    clearing.join()
    assert states()[A].state == "free"


def test_a_draining_gpu_is_seen_and_the_next_call_gets_another(driver, tmp_path):
    with app.run():
        held = Held(driver, tmp_path)
        other = B if held.uuid == A else A
        busy = gpu(held.uuid, processes="2147483000:5") + gpu(other)
        driver.say(busy)
        held.end.touch()
        held.call.get(timeout=60)
        # A request for both makes the idle worker go, and its GPU drain.
        both = subprocess.Popen(
            [sys.executable, "-c", "import ionian\nwith ionian.lease('A10G:2'): pass"],
        )
        wait_until(lambda: states()[held.uuid].state == "draining", "the GPU drains")
        assert states()[held.uuid].left == "pid 2147483000"
        assert "draining: pid 2147483000 is still on it" in command("gpus")
        driver.say(gpu(A) + gpu(B))
        assert both.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("left", "says"),
    [
        ({"processes": "2147483000:5"}, "pid 2147483000 was still on it"),
        ({"used": 9_000_000_000}, "MiB of its memory that no process accounts for"),
    ],
)
def test_what_does_not_drain_is_quarantined_until_it_is_gone(driver, monkeypatch, left, says):
    monkeypatch.setenv("IONIAN_DRAIN_LIMIT", "0.05")
    monkeypatch.setenv("IONIAN_PROBE_PAUSES", "0.1")
    driver.say(gpu(A))
    with app.run():
        assert where.remote() == A
        driver.say(gpu(A, **left))
    wait_until(lambda: states()[A].state == "quarantined", "the limit passes")
    assert says in states()[A].quarantine.reason
    assert says in command("gpus")
    driver.say(gpu(A))
    with app.run():
        assert where.remote() == A
    assert states()[A].state == "free"


def test_a_driver_that_hangs_does_not_keep_a_healthy_gpu_from_a_call(driver):
    with app.run():
        assert where.remote() in (A, B)  # the guardian knows its GPUs
        driver.say("hang nvmlDeviceGetHandleByUUID\n" + gpu(A) + gpu(B))
        assert hold.remote(os.devnull, os.devnull) in (A, B)
        driver.release()


def test_gpus_keep_their_identity_when_the_driver_counts_them_otherwise(driver, tmp_path):
    with app.run():
        held = Held(driver, tmp_path)
        driver.say(gpu(B) + gpu(A))
        assert where.remote() == (B if held.uuid == A else A)
        held.end.touch()
        assert held.call.get(timeout=60) == held.uuid


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        ("driver 1\n", "NVML reports 0 GPUs"),
        ("init 18\n", "old kernel module is loaded"),
        ("init 999\n", "systemctl daemon-reload"),
        ("count_error 999\n" + gpu(A), "Unknown Error"),
    ],
)
def test_a_driver_without_a_gpu_says_why_and_what_to_do(driver, machine, says):
    driver.say(machine)
    with app.run():
        with pytest.raises(exception.UnsatisfiableError, match=says):
            where.remote()
    assert says in command("gpus")


def test_the_command_line_shows_a_quarantine_and_probes_when_it_is_told_to(driver, tmp_path):
    driver.say(gpu(A))
    with app.run():
        held = Held(driver, tmp_path)
        driver.report(A, 79)
        with pytest.raises(exception.GpuUnhealthyError):
            held.call.get(timeout=60)
    shown = command("gpus")
    assert "quarantined just now: Xid 79: GPU has fallen off the bus; reboot" in shown
    assert "probe in " in shown
    [data] = json.loads(command("gpus", "--json"))["gpus"]
    assert data["state"] == "quarantined"
    assert data["quarantine"]["xid"] == 79 and data["quarantine"]["probe_in_s"] > 0
    driver.say(gpu(A, remap_pending=1))
    assert "last probe: a memory row remap is pending" in command("gpus", "--probe")
    driver.say(gpu(A))
    assert "nobody" in command("gpus", "--probe")
    assert states()[A].state == "free"


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, libraries: pathlib.Path) -> str:
    path = build("fake_cuda", libraries)
    monkeypatch.setenv("IONIAN_CUDA_LIBRARY", path)
    return path


@app.function(gpu="A10G", serialized=True)
def break_cuda(code: int, swallow: bool) -> int:
    """Uses CUDA, and breaks it. Returns its process."""
    driver = ctypes.CDLL(os.environ["IONIAN_CUDA_LIBRARY"])
    driver.cuInit(0)
    driver.cuDevicePrimaryCtxRetain(ctypes.byref(ctypes.c_void_p()), 0)
    driver.fake_cuda_break(code)
    if code and not swallow:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    return os.getpid()


@pytest.mark.parametrize("swallow", [False, True])
def test_a_worker_whose_cuda_is_broken_answers_and_is_never_used_again(cuda, swallow, capfd):
    with app.run(simulate="A10G:1"):
        worker = break_cuda.remote(0, False)
        assert break_cuda.remote(0, False) == worker, "a healthy one stays"
        if swallow:
            assert break_cuda.remote(700, True) == worker
        else:
            with pytest.raises(RuntimeError, match="an illegal memory access"):
                break_cuda.remote(700, False)
        assert break_cuda.remote(0, False) != worker
    assert "CUDA_ERROR_ILLEGAL_ADDRESS (700)" in capfd.readouterr().err


def test_an_error_that_cuda_survives_keeps_the_worker(cuda):
    with app.run(simulate="A10G:1"):
        worker = break_cuda.remote(0, False)
        with pytest.raises(RuntimeError):
            break_cuda.remote(600, False)
        assert break_cuda.remote(0, False) == worker


ILLEGAL_STORE = b"""
.version 6.3
.target sm_70
.address_size 64
.visible .entry store_to_nowhere() {
    .reg .b64 %address;
    .reg .b32 %value;
    mov.u64 %address, 16;
    mov.u32 %value, 1;
    st.global.u32 [%address], %value;
    ret;
}
"""


@app.function(gpu="any", serialized=True)
def store_to_nowhere(ptx: bytes, really: bool) -> tuple[int, str]:
    """Launches a kernel that stores to an illegal address. Returns its process and GPU."""
    cuda = ctypes.CDLL("libcuda.so.1")
    context, module, kernel = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    assert cuda.cuInit(0) == 0
    assert cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
    assert cuda.cuCtxSetCurrent(context) == 0
    if really:
        assert cuda.cuModuleLoadData(ctypes.byref(module), ptx) == 0
        assert cuda.cuModuleGetFunction(ctypes.byref(kernel), module, b"store_to_nowhere") == 0
        one = [ctypes.c_uint(1)] * 6
        assert cuda.cuLaunchKernel(kernel, *one, 0, None, None, None) == 0
    code = cuda.cuCtxSynchronize()
    if code:
        raise RuntimeError(f"CUDA error {code}")
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]


@pytest.mark.gpu
def test_a_real_illegal_address_replaces_the_worker_and_leaves_the_gpu(capfd):
    with app.run():
        worker, uuid = store_to_nowhere.remote(ILLEGAL_STORE, False)
        assert store_to_nowhere.remote(ILLEGAL_STORE, False) == (worker, uuid)
        with pytest.raises(RuntimeError, match="CUDA error 700"):
            store_to_nowhere.remote(ILLEGAL_STORE, True)
        fresh, same = store_to_nowhere.remote(ILLEGAL_STORE, False)
        assert fresh != worker and same == uuid
    assert "CUDA_ERROR_ILLEGAL_ADDRESS (700)" in capfd.readouterr().err
    assert states()[uuid].state == "free"
