"""Collectives between the ranks of a call on simulated GPUs."""

from __future__ import annotations

import os
import sys
import threading

import numpy
import pytest

import ionian
from ionian import exception

sys.path.insert(0, os.path.dirname(__file__))

import conformance
import ranks_comm as r


@pytest.mark.parametrize("world", ["one", "two", "four"])
def test_every_collective_is_exact_in_every_type(world):
    with r.app.run(simulate="A10G:4"):
        failed = getattr(r, world).remote("numpy", conformance.NUMPY, conformance.SIZES)
    assert not [line for rank in failed for line in rank]


FAULTS = {
    "kill": (exception.RankError, exception.WorkerDiedError),
    "raise": (exception.RankError, ValueError),
    "skip": (exception.RankError, exception.TimeoutError),
}


@pytest.mark.parametrize("how", FAULTS)
def test_a_rank_that_is_missing_from_a_collective_fails_the_call_of_all(how):
    kind, cause = FAULTS[how]
    with r.app.run(simulate="A10G:2"):
        with pytest.raises(kind) as raised:
            r.fault.remote("numpy", how)
        assert any(isinstance(each, cause) for each in raised.value.causes.values())
        if how != "raise":
            assert raised.value.causes or raised.value.stacks
        r.fault.remote("numpy", "nothing")


def pair(**options):
    """Returns two communicators of this process, for two threads."""
    id = ionian.comm.unique_id("shared_memory")
    made = [None, None]

    def join(rank):
        made[rank] = ionian.comm.Communicator(id, rank, 2, **options)

    threads = [threading.Thread(target=join, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return made


def in_threads(*bodies):
    results = [None] * len(bodies)

    def run(i):
        try:
            results[i] = bodies[i]()
        except BaseException as exc:
            results[i] = exc

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_ranks_that_call_different_things_are_told_what_each_called():
    a, b = pair()
    errors = in_threads(lambda: a.all_reduce(numpy.ones(3)), lambda: b.all_reduce(numpy.ones(4)))
    for error in errors:
        assert isinstance(error, exception.InvalidError)
        assert "rank 0: all_reduce(float64, 3 elements, sum)" in str(error)
        assert "rank 1: all_reduce(float64, 4 elements, sum)" in str(error)


def test_a_timeout_names_the_rank_that_did_not_come():
    a, b = pair(timeout=0.2)
    with pytest.raises(exception.TimeoutError, match="rank 1 has not called anything yet"):
        a.barrier()
    with pytest.raises(exception.ExecutionError, match="can be used no more"):
        a.barrier()
    b.close()


def test_a_closed_communicator_says_so():
    a, b = pair()
    with a:
        pass
    with pytest.raises(exception.ExecutionError, match="closed"):
        a.barrier()
    with pytest.raises(exception.ConnectionError, match="rank 0 has closed"):
        b.barrier()


BAD = {
    "read-only": (lambda c: c.all_reduce(_read_only()), "read-only"),
    "strided": (lambda c: c.all_reduce(numpy.ones(8)[::2]), "contiguous"),
    "no array": (lambda c: c.all_reduce([1, 2]), "expected an array"),
    "a type that there is not": (lambda c: c.all_reduce(numpy.ones(2, "complex64")), "complex64"),
    "an operation that there is not": (lambda c: c.all_reduce(numpy.ones(2), "xor"), "op='xor'"),
    "a rank that there is not": (lambda c: c.send(numpy.ones(2), 5), "there is no rank 5"),
    "sizes that differ": (
        lambda c: c.all_reduce(numpy.ones(2), out=numpy.ones(3)),
        "2 elements would have to fit 3",
    ),
    "parts that do not divide": (lambda c: c.reduce_scatter(numpy.ones(3)), "multiple of 2"),
}


def _read_only():
    array = numpy.ones(2)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("how", BAD)
def test_a_bad_argument_says_what_was_expected(how):
    call, text = BAD[how]
    a, b = pair()
    with pytest.raises(exception.InvalidError) as raised:
        call(a)
    assert text in str(raised.value)
    b.close()


def test_bad_ids_and_timeouts_are_refused():
    with pytest.raises(exception.InvalidError, match="no id"):
        ionian.comm.Communicator(b"hello", 0, 1)
    with pytest.raises(exception.InvalidError, match="'nccl' or 'shared_memory'"):
        ionian.comm.unique_id("gloo")
    with pytest.raises(exception.InvalidError, match="timeout"):
        ionian.comm.Communicator(b"S", 0, 1, timeout=0)


def test_outside_a_call_the_communicator_has_one_rank():
    import subprocess

    program = "import ionian, numpy; c = ionian.communicator(); print(c.world_size, c.all_reduce(numpy.ones(2)))"
    env = os.environ | {"IONIAN_GPUS": "A10G:1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == "1 [1. 1.]", done.stderr
