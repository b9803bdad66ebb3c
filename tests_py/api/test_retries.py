"""retries=: what is tried again, how often, and in which forms of a call."""

from __future__ import annotations

import asyncio
import pickle

import attempts as a
import numpy
import pytest
from bodies import wait_until

import ionian
from ionian import exception

FAILURES = {
    "raises": KeyError,
    "is killed": exception.WorkerDiedError,
    "leaves": exception.WorkerDiedError,
    "dies while it answers": exception.WorkerDiedError,
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_body_that_fails_is_tried_again_until_it_succeeds(world, how):
    with a.app.run(show_output=False):
        assert a.thrice.remote(str(world / "entered"), 2, how) == 3
        assert a.entered(world / "entered") == 3


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize(("function", "most"), [(a.once, 1), (a.thrice, 3)])
def test_a_body_is_entered_one_plus_retries_times_and_its_last_failure_is_raised(
    world, how, function, most
):
    with a.app.run(show_output=False):
        with pytest.raises(FAILURES[how]):
            function.remote(str(world / "entered"), 100, how)
        assert a.entered(world / "entered") == most


def test_a_timeout_is_tried_again_with_a_fresh_timeout_for_each_attempt(world):
    with a.app.run(show_output=False):
        assert a.thrice_in_time.remote(str(world / "twice"), 2, "takes too long") == 3
        with pytest.raises(exception.FunctionTimeoutError, match="0.4 s"):
            a.thrice_in_time.remote(str(world / "always"), 100, "takes too long")
        assert a.entered(world / "always") == 3


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("cannot be sent", exception.SerializationError),
        ("is used wrongly", exception.InvalidError),
    ],
)
def test_what_would_fail_the_same_way_is_not_tried_again(world, how, kind):
    with a.app.run(show_output=False):
        with pytest.raises(kind):
            a.thrice.remote(str(world / "entered"), 100, how)
        assert a.entered(world / "entered") == 1


def test_arguments_that_cannot_be_rebuilt_are_not_tried_again(world):
    with a.app.run(show_output=False):
        with pytest.raises(exception.DeserializationError):
            a.thrice.remote(str(world / "entered"), 0, "", Unreadable(str(world / "read")))
    assert a.entered(world / "read") == 1 and a.entered(world / "entered") == 0


class Unreadable:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return a.once.raw, (self.path, 100, "raises")


async def _collect(results):
    return [result async for result in results]


FORMS = {
    "remote": lambda f, args: [f.remote(*args)],
    "spawn": lambda f, args: [f.spawn(*args).get(timeout=20)],
    "map": lambda f, args: list(f.map(*[[each] for each in args])),
    "map of an iterator": lambda f, args: list(f.map(*[iter([each]) for each in args])),
    "starmap": lambda f, args: list(f.starmap([args])),
    "for_each": lambda f, args: f.for_each(*[[each] for each in args]) or [3],
    "remote.aio": lambda f, args: [asyncio.run(_run(lambda: f.remote.aio(*args)))],
    "spawn.aio": lambda f, args: [asyncio.run(_run(lambda: _spawn(f, args)))],
    "map.aio": lambda f, args: asyncio.run(_collect(f.map.aio(*[[each] for each in args]))),
    "starmap.aio": lambda f, args: asyncio.run(_collect(f.starmap.aio([args]))),
    "for_each.aio": lambda f, args: (
        asyncio.run(_run(lambda: f.for_each.aio(*[[each] for each in args]))) or [3]
    ),
}


async def _run(made):
    return await made()


async def _spawn(f, args):
    return await (await f.spawn.aio(*args)).get.aio(timeout=20)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_call_is_tried_again(world, form):
    with a.app.run(show_output=False):
        assert FORMS[form](a.thrice, (str(world / "entered"), 2, "raises")) == [3]
        assert a.entered(world / "entered") == 3


def test_a_coroutine_is_tried_again(world):
    with a.app.run(show_output=False):
        assert a.thrice_as_a_coroutine.remote(str(world / "entered"), 2, "raises") == 3


def test_inputs_of_a_map_are_tried_again_each_for_itself(world):
    paths = [str(world / str(i)) for i in range(30)]
    fails = [i % 4 for i in range(30)]  # three failures are one too many
    with a.app.run(show_output=False):
        results = list(a.thrice.map(paths, fails, ["raises"] * 30, return_exceptions=True))
    for i, result in enumerate(results):
        assert isinstance(result, KeyError) if fails[i] == 3 else result == fails[i] + 1
        assert a.entered(paths[i]) == min(fails[i] + 1, 3)


@pytest.mark.parametrize("form", ["remote", "spawn", "map"])
def test_each_attempt_gets_the_arguments_as_they_were_given(world, form):
    array = numpy.arange(100_000.0)
    with a.app.run(show_output=False):
        (total,) = FORMS[form](a.overwrites, (str(world / "entered"), array))
    assert total == numpy.arange(100_000.0).sum()
    assert a.entered(world / "entered") == 3


@pytest.mark.parametrize("how", ["raises", "is killed"])
def test_all_ranks_are_tried_again_when_one_fails(world, how):
    with a.app.run(simulate="A10G:2", show_output=False):
        assert a.ranks.remote(str(world / "twice"), 2, how) == [3, 3]
        with pytest.raises(exception.RankError):
            a.ranks.remote(str(world / "always"), 100, how)
        assert a.entered(world / "always.1") == 3


def test_ranks_are_not_tried_again_when_it_would_be_no_use(world):
    with a.app.run(simulate="A10G:2", show_output=False):
        with pytest.raises(exception.RankError, match="the same each time"):
            a.ranks.remote(str(world / "entered"), 100, "is used wrongly")
        assert a.entered(world / "entered.1") == 1


def test_a_failed_attempt_is_told_with_the_time_of_the_next(capfd, world):
    with a.app.run():
        a.thrice.remote(str(world / "entered"), 1, "raises")
    assert "thrice: attempt 1 of 3 raised; the next begins in 0 s" in capfd.readouterr().err


def test_a_whole_number_means_as_many_retries_one_second_apart():
    assert ionian.App("x").function(retries=3)(lambda: 1).options.retries == ionian.Retries(
        max_retries=3, backoff_coefficient=1.0, initial_delay=1.0, max_delay=60.0
    )
    for none in (None, 0, ionian.Retries(max_retries=0)):
        assert ionian.App("x").function(retries=none)(lambda: 1).options.retries is None


WRONG = [
    ({"max_retries": -1}, "max_retries"),
    ({"max_retries": 1.5}, "max_retries"),
    ({"max_retries": True}, "max_retries"),
    ({"max_retries": 10**30}, "max_retries"),
    ({"max_retries": 1, "max_delay": 0.5}, "max_delay"),
    ({"max_retries": 1, "max_delay": 61}, "max_delay"),
    ({"max_retries": 1, "initial_delay": -0.1}, "initial_delay"),
    ({"max_retries": 1, "initial_delay": 61}, "initial_delay"),
    ({"max_retries": 1, "initial_delay": "1"}, "initial_delay"),
    ({"max_retries": 1, "backoff_coefficient": 0.9}, "backoff_coefficient"),
    ({"max_retries": 1, "backoff_coefficient": 10.1}, "backoff_coefficient"),
    ({"max_retries": 1, "backoff_coefficient": float("nan")}, "backoff_coefficient"),
]


@pytest.mark.parametrize(("fields", "name"), WRONG, ids=[str(row[0]) for row in WRONG])
def test_a_wrong_policy_is_refused_where_it_is_written(fields, name):
    with pytest.raises(exception.InvalidError) as raised:
        ionian.Retries(**fields)
    assert f"{name}=" in str(raised.value)
    assert len(str(raised.value).splitlines()[0]) < 200


def test_a_policy_without_a_number_of_retries_is_a_type_error():
    with pytest.raises(TypeError):
        ionian.Retries()
    with pytest.raises(TypeError):
        ionian.Retries(3)


def test_a_policy_survives_a_pickle_round_trip():
    assert pickle.loads(pickle.dumps(a.at_once)) == a.at_once


def test_a_call_between_two_attempts_is_cancelled_at_once_and_never_begins_again(world):
    path = world / "entered"
    with a.app.run(show_output=False):
        call = a.much_later.spawn(str(path))
        wait_until(lambda: a.entered(path) == 1)
        a.once.remote(str(world / "other"), 0, "")
        with pytest.raises(TimeoutError):
            call.get(timeout=0.05)
        call.cancel()
        with pytest.raises(exception.RemoteError, match="cancelled"):
            call.get(timeout=0)
    assert a.entered(path) == 1


def test_a_run_can_end_between_two_attempts(world):
    with a.app.run(show_output=False):
        call = a.much_later.spawn(str(world / "entered"))
        wait_until(lambda: a.entered(world / "entered") == 1)
    with pytest.raises(exception.ExecutionError):
        call.get(timeout=0)
