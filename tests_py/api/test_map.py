"""Maps: order, laziness, failures."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import time

import functions as f
import pytest

from ionian import exception

INPUTS = {
    "list": lambda: [3, 1, 2],
    "tuple": lambda: (3, 1, 2),
    "range": lambda: range(5),
    "iterator": lambda: iter([3, 1, 2]),
    "generator": lambda: (i for i in range(5)),
    "empty list": list,
    "empty iterator": lambda: iter(()),
    "nones": lambda: [None, 1, None],
    "more than may be outstanding": lambda: range(3000),
    "more from a generator": lambda: (i for i in range(3000)),
}


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
def test_results_come_in_input_order(inputs):
    with f.app.run():
        assert list(f.echo.map(inputs())) == list(inputs())


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
def test_without_order_every_result_comes_once(inputs):
    with f.app.run():
        results = list(f.echo.map(inputs(), order_outputs=False))
        assert sorted(results, key=repr) == sorted(inputs(), key=repr)


def test_inputs_are_zipped_to_the_shortest_and_keywords_go_to_all():
    with f.app.run():
        assert list(f.echo.map([1, 2, 3], kwargs={"k": 0})) == [(i, {"k": 0}) for i in (1, 2, 3)]
        assert list(f.die.map(["a", "b", "c"])) == ["a", "b", "c"]
        assert list(f.echo.starmap([(1,), [2]])) == [1, 2]


def test_a_map_uses_every_gpu():
    with f.app.run(simulate="A10G:2"):
        seen = set()
        deadline = time.monotonic() + 20
        while len(seen) < 2 and time.monotonic() < deadline:
            seen |= {gpu for gpu, _ in f.on_gpu.map(range(50))}
        assert len(seen) == 2


def test_an_infinite_iterator_is_pulled_as_needed():
    pulled = itertools.count()
    with f.app.run():
        results = iter(f.echo.map(pulled))
        assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
        results.close()
    assert next(pulled) < 3000


def test_results_come_while_the_iterator_blocks():
    gate = threading.Event()

    def inputs():
        yield 1
        gate.wait(20)
        yield 2

    with f.app.run():
        results = iter(f.echo.map(inputs()))
        assert next(results) == 1
        gate.set()
        assert next(results) == 2


def test_the_first_failure_that_arrives_is_raised(world):
    with f.app.run():
        with pytest.raises(KeyError):
            list(f.fail.map(["none", "key", "none"]))
        assert f.echo.remote(1) == 1


def test_failures_can_be_returned_in_their_slots():
    with f.app.run():
        results = list(f.fail.map(["none", "key", "none"], return_exceptions=True))
    assert results[0] is None and results[2] is None
    assert isinstance(results[1], KeyError)


def test_a_dead_worker_is_one_failure_of_a_map():
    with f.app.run():
        results = list(f.die.map(["a", "kill", "b"], return_exceptions=True))
    assert [results[0], results[2]] == ["a", "b"]
    assert isinstance(results[1], exception.WorkerDiedError)


@pytest.mark.parametrize("wrap", [list, iter], ids=["list", "iterator"])
def test_an_exception_of_the_input_iterator_reaches_the_consumer(wrap):
    def inputs():
        yield 1
        raise LookupError("no more")

    with f.app.run():
        with pytest.raises(LookupError, match="no more"):
            list(f.echo.map(inputs()))
        assert list(f.echo.map(wrap([1]))) == [1]


def test_an_input_that_cannot_be_sent_says_which_argument():
    with f.app.run():
        with pytest.raises(exception.SerializationError, match="argument 1"):
            list(f.echo.map([threading.Lock()]))


def test_for_each_runs_at_once(world):
    paths = [str(world / name) for name in ("a", "b")]
    (world / "go").touch()
    with f.app.run():
        assert f.wait_for.for_each([str(world / "go")] * 2, paths) is None
    assert (world / "a").exists() and (world / "b").exists()


def test_for_each_raises_unless_told_not_to():
    with f.app.run():
        f.fail.for_each(["key"], ignore_exceptions=True)
        with pytest.raises(KeyError):
            f.fail.for_each(["key"])


def test_a_map_that_nobody_iterates_warns():
    with f.app.run():
        with pytest.warns(UserWarning, match="not iterated"):
            f.echo.map([1])
            gc.collect()


def test_leaving_a_map_early_cancels_the_rest(world):
    with f.app.run():
        results = iter(f.wait_for.map([str(world / "go")] + [str(world / "never")] * 20))
        (world / "go").touch()
        assert next(results) == "done"
        results.close()
        (world / "never").touch()
        assert f.wait_for.remote(str(world / "go")) == "done"


def test_maps_nest():
    with f.app.run():
        assert list(f.echo.map(f.echo.map(iter(range(10))))) == list(range(10))


@pytest.mark.parametrize(
    "bad", [lambda: f.echo.map(), lambda: f.echo.map(5), lambda: list(f.echo.starmap([1]))]
)
def test_bad_inputs_are_refused_with_what_to_write(bad):
    with f.app.run():
        with pytest.raises(exception.InvalidError, match="echo"):
            bad()


def test_coroutines_have_every_form():
    async def inputs():
        for i in range(3):
            yield i

    async def main():
        async with f.app.run():
            assert await f.echo.remote.aio(1) == 1
            assert await asyncio.gather(*[f.echo.remote.aio(i) for i in range(50)]) == list(
                range(50)
            )
            assert [x async for x in f.echo.map.aio([1, 2])] == [1, 2]
            assert [x async for x in f.echo.map.aio(inputs())] == [0, 1, 2]
            assert [x async for x in f.echo.starmap.aio([(1,), (2,)])] == [1, 2]
            await f.echo.for_each.aio([1])
            call = await f.echo.spawn.aio(5)
            assert await call.get.aio() == 5
            with pytest.raises(KeyError):
                await f.fail.remote.aio("key")
            with pytest.raises(exception.InvalidError, match="map.aio"):
                f.echo.map([1])

    asyncio.run(main())


def test_cancelling_the_task_cancels_the_call(world):
    note = world / "note"

    async def main():
        async with f.app.run():
            task = asyncio.ensure_future(f.until_cancelled.remote.aio(str(note)))
            while not (note.exists() and note.read_text() == "running"):
                await asyncio.sleep(0.002)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while note.read_text() != "cancelled":
                await asyncio.sleep(0.002)

    asyncio.run(main())
