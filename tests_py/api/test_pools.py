"""Workers of a function: how many, how long, and what happens when two functions want one GPU."""

from __future__ import annotations

import os
import threading

import bodies as b
import functions as f
import pytest

import ionian
from ionian import exception


def test_max_containers_limits_the_workers():
    with b.app.run():
        assert len(set(b.alone.map([0.002] * 50))) == 1
        assert b.alone.pool().workers == 1


def test_an_idle_worker_ends_after_its_window_and_the_next_call_gets_another():
    with b.app.run():
        first = b.soon_gone.remote()
        b.wait_until(lambda: b.soon_gone.pool().workers == 0)
        assert b.soon_gone.remote() != first


def test_a_spare_worker_is_started_while_another_works(world):
    with b.app.run():
        call = b.with_a_spare.spawn(str(world / "go"))
        b.wait_until(lambda: b.with_a_spare.pool().workers == 2)
        (world / "go").touch()
        call.get(timeout=20)


def test_calls_spread_over_every_gpu_and_no_further(world):
    app = ionian.App("grows")

    @app.function(gpu="any", serialized=True)
    def which(directory):
        gpu = os.environ["CUDA_VISIBLE_DEVICES"]
        open(os.path.join(directory, gpu), "w").close()
        b.wait_until(lambda: os.path.exists(os.path.join(directory, "go")))
        return gpu

    with app.run(simulate="A10G:3"):
        calls = [which.spawn(str(world)) for _ in range(9)]
        b.wait_until(lambda: len(list(world.glob("GPU-*"))) == 3)
        assert which.pool().workers == 3
        (world / "go").touch()
        assert len({call.get(timeout=20) for call in calls}) == 3


def test_two_functions_take_turns_on_one_gpu():
    with b.app.run(simulate="A10G:1"):
        for i in range(5):
            assert b.double_on_gpu.remote(b.plus_one_on_gpu.remote(i)) == 2 * (i + 1)


def test_a_map_over_a_map_shares_one_gpu():
    with b.app.run(simulate="A10G:1"):
        inner = b.plus_one_on_gpu.map(range(30))
        assert list(b.double_on_gpu.map(inner)) == [2 * (i + 1) for i in range(30)]


def test_a_kept_worker_gives_its_gpu_up_to_a_call_that_waits():
    app = ionian.App("kept")

    @app.function(gpu="any", min_containers=1, scaledown_window=0.05, serialized=True)
    def kept():
        return os.getpid()

    other = app.function(gpu="any", serialized=True, name="other")(lambda: "ran")
    with app.run(simulate="A10G:1"):
        first = kept.remote()
        # Longer than its window: it is kept.
        with pytest.raises(TimeoutError):
            threading_event_wait(0.3)
        assert kept.remote() == first
        assert other.spawn().get(timeout=20) == "ran"
        assert kept.remote() != first


def threading_event_wait(seconds: float) -> None:
    if not threading.Event().wait(seconds):
        raise TimeoutError


def test_a_kept_worker_that_can_never_run_fails_the_run_at_once():
    app = ionian.App("kept in vain")
    app.function(gpu="H100:2", min_containers=1, serialized=True, name="kept")(lambda: 1)
    with pytest.raises(exception.UnsatisfiableError, match="H100"):
        with app.run(simulate="A10G:1"):
            raise AssertionError("the run opened")
    assert app._session is None


def test_two_runs_in_two_threads_exclude_each_other_on_one_gpu():
    apps = []
    inside = []
    overlaps = []
    for number in range(2):
        app = ionian.App(f"thread {number}")

        @app.function(gpu="any", serialized=True, scaledown_window=0.05)
        def work(path):
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return "together"
            os.unlink(path)
            return "alone"

        apps.append((app, work))

    def run(app, work):
        with app.run(simulate="A10G:1"):
            for _ in range(3):
                inside.append(work.remote(os.environ["IONIAN_LOCK_DIR"] + ".inside"))

    threads = [threading.Thread(target=run, args=pair) for pair in apps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    overlaps = [found for found in inside if found != "alone"]
    assert len(inside) == 6 and not overlaps


def test_a_run_closes_from_under_calls_of_other_threads(world):
    outcomes = []

    def call():
        try:
            outcomes.append(f.wait_for.remote(str(world / "never"), str(world / "started")))
        except exception.ExecutionError as exc:
            outcomes.append(str(exc))

    def endless():
        try:
            outcomes.append(sum(1 for _ in f.echo.map(iter(int, 1))))
        except exception.ExecutionError as exc:
            outcomes.append(str(exc))

    threads = [threading.Thread(target=call), threading.Thread(target=endless)]
    with f.app.run():
        for thread in threads:
            thread.start()
        b.wait_until((world / "started").exists)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert len(outcomes) == 2 and all("ended" in text for text in outcomes)


def test_a_result_stays_valid_after_its_run():
    numpy = pytest.importorskip("numpy")
    with f.app.run():
        kept = [f.echo.remote(numpy.full(100_000, i)) for i in range(30)]
        call = f.echo.spawn("kept")
        assert call.get() == "kept"
    assert all((array == i).all() for i, array in enumerate(kept))
    kept[0][0] = 5  # it is the caller's own
    assert call.get() == "kept"
    del kept


def test_a_call_that_was_under_way_when_the_run_ended_says_so(world):
    with f.app.run():
        call = f.wait_for.spawn(str(world / "never"))
    with pytest.raises(exception.ExecutionError, match="ended before the call did"):
        call.get()
    with pytest.raises(exception.ExecutionError, match=r"with app.run\(\):"):
        f.echo.remote(1)


def test_a_worker_keeps_arguments_for_itself():
    numpy = pytest.importorskip("numpy")
    app = ionian.App("keeps")
    kept = []

    @app.function(serialized=True, max_containers=1)
    def keep(array):
        kept.append(array)
        array[1] = -1
        return [float(k[0]) for k in kept]

    with app.run():
        for i in range(20):
            mine = numpy.full(50_000, float(i))
            assert keep.remote(mine) == [float(j) for j in range(i + 1)]
            assert mine[1] == i


def test_large_values_go_both_ways():
    numpy = pytest.importorskip("numpy")
    with f.app.run():
        big = numpy.arange(1 << 23)
        assert (f.echo.remote(big) == big).all()
        assert f.echo.remote(b"x" * (64 << 20)) == b"x" * (64 << 20)
        many = [numpy.full(3000, i) for i in range(2000)]
        assert all((x == y).all() for x, y in zip(f.echo.remote(many), many, strict=True))


def test_a_forked_child_may_open_a_run_of_its_own():
    with f.app.run():
        assert f.echo.remote(1) == 1
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                with f.app.run():
                    os.write(write, b"got %d" % f.echo.remote(2))
            except BaseException as exc:
                os.write(write, repr(exc).encode())
            finally:
                os._exit(0)
        os.close(write)
        try:
            assert os.read(read, 4096) == b"got 2"
        finally:
            os.close(read)
            os.waitpid(child, 0)
        assert f.echo.remote(3) == 3


def test_too_few_descriptors_are_an_error_and_no_harm():
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    failures = []
    try:
        for spare in range(0, 40, 3):
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, before[1]))
            try:
                with f.app.run():
                    f.echo.remote(1)
            except exception.Error as exc:
                failures.append(str(exc))
                del exc
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert failures
    with f.app.run():
        assert f.echo.remote(2) == 2


def test_closing_a_run_does_not_wait_for_workers_that_are_being_started():
    for _ in range(40):  # a race: it went wrong once in eight
        with f.app.run(show_output=False):
            list(f.echo.map([1, 2, 3], order_outputs=False))  # the second worker is on its way
            session = f.app.session("test")
            closer = threading.Thread(target=session.close, args=(600,))
            closer.start()
            closer.join(20)
            if closer.is_alive():
                session.executor.stop()
                closer.join()
                raise AssertionError("the run waited for its grace period")
