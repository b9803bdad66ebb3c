"""A body is entered at most 1 + retries times, wherever its workers are killed: counted on disk."""

from __future__ import annotations

import os
import pathlib
import random
import signal
import threading

import attempts as a
import pytest
from audit import processes_of

import ionian
from ionian import exception


def test_a_worker_killed_before_it_is_ready_is_replaced_silently(world):
    app = ionian.App("killed while it loads")
    reader = a.DiesWhenRead(str(world / "loaded"), 2)
    path = str(world / "entered")

    @app.function(serialized=True)
    def work():
        return a.enter(path), reader

    with app.run(show_output=False):
        assert work.remote() == (1, "read")
    assert a.entered(world / "loaded") == 3


@pytest.mark.parametrize("function", [a.once, a.thrice])
@pytest.mark.parametrize(("kills", "reads", "entries"), [(1, 2, 1), (2, 3, 1), (100, 3, 0)])
def test_a_worker_killed_before_the_body_is_replaced_silently_three_times_at_the_most(
    world, function, kills, reads, entries
):
    argument = a.DiesWhenRead(str(world / "read"), kills)
    with a.app.run(show_output=False):
        try:
            assert function.remote(str(world / "entered"), 0, "", argument) == 1
        except exception.WorkerDiedError as died:
            assert not died.started and not entries
        assert a.entered(world / "read") == reads
        assert a.entered(world / "entered") == entries


@pytest.mark.parametrize(("function", "most"), [(a.once, 1), (a.thrice, 3)])
@pytest.mark.parametrize("how", ["is killed", "dies while it answers"])
def test_a_worker_killed_in_the_body_or_while_it_answers_uses_an_attempt_up(
    world, function, most, how
):
    with a.app.run(show_output=False):
        with pytest.raises(exception.WorkerDiedError) as raised:
            function.remote(str(world / "entered"), 100, how)
        assert raised.value.started
        assert a.entered(world / "entered") == most


def test_deaths_before_and_in_the_body_count_apart(world):
    argument = a.DiesWhenRead(str(world / "read"), 2)
    with a.app.run(show_output=False):
        assert a.thrice.remote(str(world / "entered"), 2, "is killed", argument) == 3
    assert a.entered(world / "read") == 5


def workers_of(world: pathlib.Path) -> list[int]:
    """Returns the pids of the workers: children of a launcher, which is the guardian's child."""
    parents, guardians = {}, set()
    for process in processes_of(str(world / "locks")):
        pid, _, command = process.partition(": ")
        if "ionian-guardian" in command:
            guardians.add(int(pid))
        try:
            stat = pathlib.Path("/proc", pid, "stat").read_text()
        except OSError:
            continue
        parents[int(pid)] = int(stat.rpartition(")")[2].split()[1])
    launchers = {pid for pid, parent in parents.items() if parent in guardians}
    return [pid for pid, parent in parents.items() if parent in launchers]


@pytest.mark.parametrize(("function", "most"), [(a.once, 1), (a.thrice, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_workers_killed_at_random_moments_never_have_a_body_entered_too_often(
    world, function, most, seed
):
    chance = random.Random(seed)
    paths = [str(world / f"entered {i}") for i in range(200)]
    over = threading.Event()
    kills = []

    def kill() -> None:
        while not over.wait(chance.uniform(0, 0.03)):
            for pid in chance.sample(workers := workers_of(world), min(1, len(workers))):
                try:
                    os.kill(pid, signal.SIGKILL)
                    kills.append(pid)
                except ProcessLookupError:
                    pass

    killer = threading.Thread(target=kill)
    with a.app.run(show_output=False):
        function.remote(str(world / "warm"), 0)
        killer.start()
        try:
            results = list(
                function.map(paths, [0] * 200, kwargs={"nap": 0.003}, return_exceptions=True)
            )
        finally:
            over.set()
            killer.join()
        counts = [a.entered(path) for path in paths]
        assert kills and max(counts) <= most
        for result, count in zip(results, counts, strict=True):
            # One that died may have been killed on its way into the body, so before it could count.
            assert isinstance(result, exception.WorkerDiedError) or 1 <= result == count
        assert function.remote(str(world / "last"), 0) == 1
