"""Maps that end early: nothing more is pulled, nothing more runs, nothing is kept."""

from __future__ import annotations

import gc
import itertools
import os
import threading

import bodies as b
import functions as f
import pytest

from ionian import exception


def feeders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ionian-map"]


LEAVING = {
    "closed": lambda results: results.close(),
    "dropped": lambda results: None,
    "after a failure": lambda results: pytest.raises(LookupError, results.throw, LookupError),
}


@pytest.mark.parametrize("how", LEAVING)
def test_an_infinite_iterator_is_left_alone_when_its_map_is_left(how):
    pulled = itertools.count()
    with f.app.run():
        results = iter(f.echo.map(pulled))
        assert next(results) == 0
        LEAVING[how](results)
        del results
        gc.collect()
        b.wait_until(lambda: not feeders())
        stopped_at = next(pulled)
        assert f.echo.remote(1) == 1
        assert next(pulled) == stopped_at + 1


def test_inputs_that_come_after_the_map_was_left_do_not_run(world):
    gate = threading.Event()
    paths = [str(world / f"ran {i}") for i in range(20)]

    def inputs():
        yield paths[0]
        gate.wait(20)
        yield from paths[1:]

    with b.app.run():
        results = iter(b.touch.map(inputs()))
        assert next(results) == paths[0]
        results.close()
        gate.set()
        b.wait_until(lambda: not feeders())
        # The worker takes calls in order: when it has answered this one, the others have run.
        b.touch.remote(str(world / "last"))
        assert [path for path in paths if os.path.exists(path)] == paths[:1]


def test_after_a_failure_the_rest_does_not_run(world):
    gate = str(world / "gate")
    with f.app.run():
        with pytest.raises(KeyError):
            for _ in f.fail.map(itertools.chain(["key"], itertools.repeat("none"))):
                pass
        with pytest.raises(exception.WorkerDiedError):
            list(f.die.map(["kill"] + ["fine"] * 100))
        results = iter(f.wait_for.map([gate] * 50))
        results.close()
        (world / "gate").touch()
        assert f.wait_for.remote(gate) == "done"


def test_the_first_failure_that_arrives_is_raised_before_earlier_inputs_are_done(world):
    """Also in input order: the first call is still running when the second one's failure arrives."""
    app = f.ionian.App("first failure")

    @app.function(serialized=True)
    def work(path):
        if path is None:
            raise KeyError("second")
        b.wait_until(lambda: os.path.exists(path))

    with app.run():
        with pytest.raises(KeyError, match="second"):
            list(work.map([str(world / "never"), None]))


def test_ctrl_c_in_a_map_or_a_call_leaves_the_run_usable():
    import signal

    def interrupt(action):
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            action()
        timer.join()

    with b.app.run():
        b.alone.remote()
        interrupt(lambda: b.alone.remote(1000))
        interrupt(lambda: list(b.alone.map([1000, 1000])))
        interrupt(lambda: list(b.alone.map(iter([1000, 1000]))))
        call = b.alone.spawn(1000)
        interrupt(call.get)
        call.cancel()
        assert b.alone.remote() > 0


def test_two_maps_take_turns_in_one_loop():
    with f.app.run():
        pairs = list(zip(f.echo.map(range(1500)), f.echo.map(iter(range(1500))), strict=True))
    assert pairs == [(i, i) for i in range(1500)]


def test_maps_run_in_several_threads():
    wrong = []

    def work(number):
        if list(f.echo.map([(number, i) for i in range(500)])) != [(number, i) for i in range(500)]:
            wrong.append(number)

    with f.app.run():
        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def resident_mb() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def test_a_long_map_needs_no_more_memory_than_a_short_one():
    with b.app.run():
        for _ in b.plain_remote.map(range(5000)):
            pass
        before = resident_mb()
        results = iter(b.plain_remote.map(itertools.repeat(0)))
        for _ in range(200_000):
            next(results)
        grown = resident_mb() - before  # while it still runs
        results.close()
    assert grown < 30


def test_large_inputs_are_not_all_pulled_at_once():
    numpy = pytest.importorskip("numpy")
    pulled = []

    def inputs():
        for i in range(120):
            pulled.append(i)
            yield numpy.zeros(2 << 20)  # 16 MB

    with b.app.run():
        results = iter(b.size_of.map(inputs()))
        assert next(results) == 2 << 20
        # Half a gigabyte may be under way, and some more in the hands of either side.
        assert len(pulled) < 80
        results.close()


def test_a_generator_that_fails_at_once_and_an_empty_one():
    def broken():
        raise LookupError("at once")
        yield

    with f.app.run():
        with pytest.raises(LookupError, match="at once"):
            list(f.echo.map(broken()))
        assert list(f.echo.map(iter(()), return_exceptions=True)) == []
        assert list(f.echo.starmap(iter(()))) == []
        f.echo.for_each(iter(()))


def test_base_exceptions_of_the_inputs_reach_the_consumer():
    def stopped():
        yield 1
        raise KeyboardInterrupt

    with f.app.run():
        with pytest.raises(KeyboardInterrupt):
            list(f.echo.map(stopped()))
        assert f.echo.remote(1) == 1


def test_progress_is_told_and_ends():
    from ionian.runner import Output

    told = []

    class Quiet(Output):
        def progress(self, function, done, total, ended):
            told.append((function, done, total, ended))

    with f.app.run(output=Quiet()):
        assert list(f.echo.map(range(10))) == list(range(10))
    assert told[0] == ("echo", 0, 10, False)
    assert told[-1] == ("echo", 10, 10, True)
    assert [done for _, done, _, _ in told] == sorted(done for _, done, _, _ in told)
