"""The same collectives on NCCL: two ranks on the slices of one real GPU."""

from __future__ import annotations

import os
import sys
import time

import pytest

import ionian
from ionian import exception

sys.path.insert(0, os.path.dirname(__file__))

import conformance
import ranks_comm as r

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def split(monkeypatch: pytest.MonkeyPatch) -> None:
    if len(ionian.inventory().devices) < 2:
        monkeypatch.setenv("IONIAN_SPLIT", "2")


def test_every_collective_is_exact_in_every_type():
    pytest.importorskip("torch")
    with r.app.run():
        types = conformance.TORCH + conformance.FLOAT8
        failed = r.two.remote("torch", types, conformance.SIZES)
    assert not [line for rank in failed for line in rank]


def test_arrays_of_cupy_do_as_well():
    pytest.importorskip("cupy")
    with r.app.run():
        failed = r.two.remote("cupy", conformance.CUPY, [3, 1024])
    assert not [line for rank in failed for line in rank]


def test_one_rank_is_a_world_too():
    pytest.importorskip("torch")
    with r.app.run():
        failed = r.one.remote("torch", conformance.TORCH, [17])
    assert not [line for rank in failed for line in rank]


def test_collectives_are_in_order_with_the_callers_stream():
    pytest.importorskip("torch")
    with r.app.run():
        assert r.streams.remote(20) == [[True] * 20] * 2


def test_torchs_own_process_group_needs_no_port():
    pytest.importorskip("torch")
    with r.app.run():
        assert r.torch_distributed.remote() == [30.0, 30.0]
        assert r.torch_distributed.remote() == [30.0, 30.0]


def test_ranks_on_slices_see_one_gpu_each():
    pytest.importorskip("torch")
    with r.app.run():
        first, second = r.where.remote()
    assert first["backend"] == second["backend"] == "nccl"
    if os.environ.get("IONIAN_SPLIT"):
        assert first["devices"] == second["devices"] == 1
        assert first["host_id"] != second["host_id"]
        assert first["uuid"] == second["uuid"]


FAULTS = {
    "kill": exception.WorkerDiedError,
    "raise": ValueError,
    "skip": exception.TimeoutError,
}


@pytest.mark.parametrize("how", FAULTS)
def test_a_rank_that_is_missing_from_a_collective_fails_the_call_of_all(how):
    pytest.importorskip("torch")
    with r.app.run():
        r.fault.remote("torch", "nothing")  # warm
        begin = time.monotonic()
        with pytest.raises(exception.RankError) as raised:
            r.fault.remote("torch", how)
        seconds = time.monotonic() - begin
        assert any(isinstance(each, FAULTS[how]) for each in raised.value.causes.values())
        print(f"{how}: error after {seconds:.3f} s")
        begin = time.monotonic()
        r.fault.remote("torch", "nothing")
        print(f"{how}: another call done after {time.monotonic() - begin:.3f} s")
