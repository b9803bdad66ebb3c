"""Calls in an event loop: nothing blocks it, nothing outlives it."""

from __future__ import annotations

import asyncio
import os
import threading

import bodies as b
import functions as f
import pytest

from ionian import exception


async def until(condition) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("waited in vain")


async def turns_of_the_loop(awaitable) -> int:
    """Returns how often the loop went round while ``awaitable`` was awaited."""
    task = asyncio.ensure_future(awaitable)
    turns = 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    await task
    return turns


async def _map(function, *inputs):
    return [value async for value in function.map.aio(inputs)]


AWAITED = {
    "remote": lambda seconds: b.alone.remote.aio(seconds),
    "spawn and get": lambda seconds: b.alone.spawn(seconds).get.aio(),
    "map": lambda seconds: _map(b.alone, seconds),
}


@pytest.mark.parametrize("form", AWAITED)
def test_the_loop_goes_on_while_a_call_is_awaited(form):
    async def main():
        async with b.app.run():
            await b.alone.remote.aio()
            # A loop that is blocked in steps of 50 ms goes round some ten times in half a second.
            assert await turns_of_the_loop(AWAITED[form](0.5)) > 200

    asyncio.run(main())


def test_asking_whether_a_call_is_done_does_not_wait(world):
    with f.app.run():
        call = f.wait_for.spawn(str(world / "go"))
        stop = threading.Event()
        asked = [0]

        def ask():
            while not stop.is_set() and not call._call.done:
                asked[0] += 1

        asker = threading.Thread(target=ask)
        asker.start()
        stop.wait(0.5)
        stop.set()
        asker.join()
        (world / "go").touch()
        assert call.get(timeout=20) == "done"
        assert asked[0] > 200


def test_coroutine_functions_share_one_loop_that_lasts():
    with b.app.run():
        assert len({b.loop_id.remote() for _ in range(5)}) == 1
        with pytest.raises(KeyError, match="later"):
            b.fails_later.remote()


def test_failures_reach_the_awaiting_task():
    async def main():
        async with f.app.run():
            with pytest.raises(KeyError):
                await f.fail.remote.aio("key")
            with pytest.raises(KeyError):
                async for _ in f.fail.map.aio(["none", "key"]):
                    pass
            with pytest.raises(exception.WorkerDiedError):
                await f.die.remote.aio("kill")
            call = await f.fail.spawn.aio("key")
            with pytest.raises(KeyError):
                await call.get.aio()
            results = [r async for r in f.fail.map.aio(["none", "key"], return_exceptions=True)]
            assert results[0] is None and isinstance(results[1], KeyError)

    asyncio.run(main())


def test_outcomes_come_in_order_or_as_they_end(world):
    async def main():
        async with f.app.run():
            inputs = list(range(2500))
            assert [x async for x in f.echo.map.aio(inputs)] == inputs
            assert sorted([x async for x in f.echo.map.aio(inputs, order_outputs=False)]) == inputs
            assert [x async for x in f.echo.map.aio([])] == []
            assert [x async for x in f.echo.map.aio(iter(inputs))] == inputs
            assert [x async for x in f.echo.map.aio([1], kwargs={"k": 2})] == [(1, {"k": 2})]

    asyncio.run(main())


def test_async_and_plain_inputs_are_zipped_and_their_failures_arrive():
    async def numbers(end):
        for i in range(end):
            yield i

    async def broken():
        yield 1
        raise LookupError("no more")

    async def main():
        async with b.app.run(), f.app.run():
            pairs = [x async for x in f.die.map.aio(numbers(3))]
            assert pairs == [0, 1, 2]
            assert [x async for x in f.echo.starmap.aio((i,) async for i in numbers(3))] == [
                0,
                1,
                2,
            ]
            with pytest.raises(LookupError, match="no more"):
                async for _ in f.echo.map.aio(broken()):
                    pass
            with pytest.raises(exception.InvalidError, match="starmap"):
                async for _ in f.echo.starmap.aio([1]):
                    pass

    asyncio.run(main())


def test_maps_in_coroutines_nest_and_run_beside_each_other():
    async def main():
        async with f.app.run():
            results = [x async for x in f.echo.map.aio(f.echo.map.aio(range(20)))]
            assert results == list(range(20))
            many = await asyncio.gather(*[_map(f.echo, i, i + 1) for i in range(20)])
            assert many == [[i, i + 1] for i in range(20)]

    asyncio.run(main())


@pytest.mark.parametrize("form", ["remote", "map", "get"])
def test_a_timeout_of_the_loop_ends_the_wait(world, form):
    async def main():
        async with f.app.run():
            path = str(world / "go")
            awaited = {
                "remote": lambda: f.wait_for.remote.aio(path),
                "map": lambda: _map(f.wait_for, path),
                "get": lambda: f.wait_for.spawn(path).get.aio(),
            }[form]()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(awaited, 0.2)
            assert await f.echo.remote.aio(1) == 1

    asyncio.run(main())


def test_get_in_a_coroutine_gives_up_with_the_builtin_timeout_error(world):
    async def main():
        async with f.app.run():
            call = f.wait_for.spawn(str(world / "go"))
            with pytest.raises(TimeoutError, match="goes on"):
                await call.get.aio(timeout=0.05)
            (world / "go").touch()
            assert await call.get.aio(timeout=20) == "done"

    asyncio.run(main())


def test_a_run_closes_while_many_coroutines_wait():
    async def main():
        async with b.app.run():
            calls = [b.alone.spawn(1000) for _ in range(50)]
            waits = [asyncio.ensure_future(call.get.aio()) for call in calls]
            await until(lambda: b.alone.pool().workers == 1)
        ended = await asyncio.gather(*waits, return_exceptions=True)
        assert {type(failure) for failure in ended} == {exception.ExecutionError}

    asyncio.run(main())


def test_asking_again_and_again_costs_no_descriptors(world):
    async def main():
        async with f.app.run():
            call = f.wait_for.spawn(str(world / "go"))
            with pytest.raises(TimeoutError):
                await call.get.aio(timeout=0.001)
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(50):
                with pytest.raises(TimeoutError):
                    await call.get.aio(timeout=0.001)
            assert len(os.listdir("/proc/self/fd")) <= before + 1
            (world / "go").touch()
            assert await call.get.aio(timeout=20) == "done"

    asyncio.run(main())


def test_a_map_that_was_left_writes_to_no_descriptor(world):
    gate = threading.Event()

    def inputs():
        yield 0
        gate.wait(20)
        yield from range(300)

    async def main():
        async with f.app.run():
            results = f.echo.map.aio(inputs())
            assert await results.__anext__() == 0
            await results.aclose()
            files = [open(world / str(i), "wb") for i in range(8)]  # one of them gets its number
            gate.set()
            await until(lambda: not any(t.name == "ionian-map" for t in threading.enumerate()))
            assert await f.echo.remote.aio(1) == 1
            for file in files:
                file.close()
            assert [os.path.getsize(world / str(i)) for i in range(8)] == [0] * 8

    asyncio.run(main())


@pytest.mark.parametrize("name", ["get", "cancel", "gather"])
def test_a_function_call_has_forms_for_coroutines(name):
    async def main():
        async with f.app.run():
            call = await f.echo.spawn.aio(3)
            if name == "gather":
                assert await type(call).gather.aio(call) == [3]
            elif name == "get":
                assert await call.get.aio(timeout=20) == 3
            else:
                await call.cancel.aio()

    asyncio.run(main())


def test_two_loops_in_turn_and_in_threads():
    with f.app.run():

        async def main(number):
            return await asyncio.gather(*[f.echo.remote.aio((number, i)) for i in range(10)])

        assert asyncio.run(main(0)) == [(0, i) for i in range(10)]
        found = {}
        threads = [
            threading.Thread(target=lambda n=n: found.update({n: asyncio.run(main(n))}))
            for n in (1, 2, 3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {n: [(n, i) for i in range(10)] for n in (1, 2, 3)}
