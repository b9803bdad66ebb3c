"""Calls: what goes in, what comes back, where it ran."""

from __future__ import annotations

import os
import pathlib
import pickle
import threading
import time
import warnings

import functions as f
import pytest

import ionian
from ionian import exception


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        -(2**70),
        1.5,
        "text",
        "\ud800",
        b"\x00\xff",
        [1, [2]],
        {"a": (1, 2)},
        {1, 2},
        "x" * 100_000,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_value_comes_back_as_it_went(value):
    with f.app.run():
        assert f.echo.remote(value) == value


def test_keywords_arrive(world):
    with f.app.run():
        assert f.echo.remote(1, colour="blue") == (1, {"colour": "blue"})


def test_arrays_come_back_equal_whatever_their_layout():
    numpy = pytest.importorskip("numpy")
    arrays = [
        numpy.arange(3),
        numpy.zeros(0),
        numpy.array(5.0),
        numpy.arange(1_000_000, dtype=numpy.float32),
        numpy.arange(200_000).reshape(200, 1000)[::2, ::-3],
        numpy.asfortranarray(numpy.arange(100_000).reshape(100, 1000)),
    ]
    with f.app.run():
        for array in arrays:
            back = f.echo.remote(array)
            assert back.dtype == array.dtype
            numpy.testing.assert_array_equal(back, array)
        many = f.echo.remote(arrays)
        assert all((a == b).all() for a, b in zip(many, arrays, strict=True))
        # Results stay valid after later calls have used the shared memory again.
        kept = f.echo.remote(arrays[3])
        for _ in range(5):
            f.echo.remote(arrays[3] * 2)
        numpy.testing.assert_array_equal(kept, arrays[3])


def test_a_function_runs_in_another_process_that_stays_warm():
    with f.app.run():
        first = f.pid.remote()
        assert first != os.getpid()
        assert f.pid.remote() == first


def test_a_function_runs_in_the_main_thread():
    with f.app.run():
        assert f.in_main_thread.remote() is True


def test_local_runs_here():
    assert f.pid.local() == os.getpid()


def test_a_coroutine_function_runs_to_its_end():
    with f.app.run():
        assert f.later.remote(3) == 3


def test_its_environment_variables_are_set():
    with f.app.run():
        assert f.environment.remote("COLOUR") == "blue"
        assert f.environment.remote("EMPTY") == ""
    assert "COLOUR" not in os.environ


def test_a_function_without_gpu_sees_none():
    with f.app.run(simulate="A10G:2"):
        assert f.visible.remote() == ""


def test_a_function_sees_exactly_the_gpus_it_asked_for():
    with f.app.run(simulate="A10G:3"):
        two = f.on_two.remote()
        one, _ = f.on_gpu.remote()
        assert len(set(two)) == 2
        assert one not in two


def test_calls_from_many_threads_get_their_own_answers():
    with f.app.run():
        wrong = []

        def work(number: int) -> None:
            for i in range(50):
                if f.echo.remote((number, i)) != (number, i):
                    wrong.append((number, i))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_a_nested_call_runs_in_a_run_of_its_own():
    with f.app.run(simulate="A10G:2"):
        assert f.calls_another.remote(4) == 5
        outer, inner = f.calls_on_gpu.remote()
        assert outer != inner


def test_a_nested_call_that_needs_its_callers_gpus_is_a_deadlock_error():
    with f.app.run(simulate="A10G:2"):
        with pytest.raises(exception.LeaseDeadlockError, match="its own caller"):
            f.calls_for_its_own_gpus.remote()


def test_closures_and_lambdas_go_by_value():
    factor = 3
    app = ionian.App("closures")

    @app.function(serialized=True)
    def times(x):
        return x * factor

    plus = app.function(name="plus")(lambda x: x + factor)
    with app.run():
        assert times.remote(5) == 15
        assert plus.remote(5) == 8


def test_spawn_is_got_later_and_again():
    with f.app.run():
        call = f.echo.spawn(4)
        assert call.get() == 4
        assert call.get() == 4
        assert call.object_id.startswith("fc-")
        assert ionian.FunctionCall.gather(f.echo.spawn(1), f.echo.spawn(2)) == [1, 2]


def test_get_gives_up_with_the_builtin_timeout_error(world):
    with f.app.run():
        call = f.wait_for.spawn(str(world / "go"))
        with pytest.raises(TimeoutError, match="goes on"):
            call.get(timeout=0.02)
        (world / "go").touch()
        assert call.get(timeout=20) == "done"


def test_a_cancelled_call_fails_and_its_body_is_told(world):
    note = world / "note"
    with f.app.run():
        call = f.until_cancelled.spawn(str(note))
        wait_until(lambda: note.exists() and note.read_text() == "running")
        call.cancel()
        with pytest.raises(exception.RemoteError, match="cancelled"):
            call.get()
        wait_until(lambda: note.read_text() == "cancelled")
        assert f.echo.remote(1) == 1


def test_cancel_with_terminate_ends_a_body_that_does_not_react(world):
    with f.app.run():
        call = f.wait_for.spawn(str(world / "never"), str(world / "started"))
        wait_until((world / "started").exists)
        call.cancel(terminate_containers=True)
        with pytest.raises(exception.RemoteError):
            call.get()
        (world / "go").touch()
        assert f.wait_for.remote(str(world / "go")) == "done"


def test_output_of_workers_appears_here(capfd):
    with f.app.run():
        f.say.remote("to stdout")
        f.say.remote("to stderr", "stderr")
    captured = capfd.readouterr()
    assert "to stdout\n" in captured.out
    assert "to stderr\n" in captured.err


def test_a_quiet_run_shows_nothing(capfd):
    with f.app.run(show_output=False):
        f.say.remote("psst")
    assert "psst" not in capfd.readouterr().out


def test_a_waiting_call_says_who_holds_the_gpus(capfd):
    with ionian.lease("any", simulate="A10G:1") as lease:
        with f.app.run(simulate="A10G:1"):
            call = f.on_gpu.spawn()
            err = ""

            def told() -> bool:
                nonlocal err
                err += capfd.readouterr().err
                return "leased by" in err

            wait_until(told)
            assert f"pid {os.getpid()}" in err
            lease.release()
            assert call.get(timeout=20)[1] is None


def test_functions_can_be_arguments():
    app = ionian.App("arguments")

    @app.function(serialized=True)
    def name_of(function):
        return function.name

    with app.run():
        assert name_of.remote(f.echo) == "echo"


def test_a_run_can_be_opened_again():
    for _ in range(2):
        with f.app.run():
            assert f.echo.remote(1) == 1


def test_min_containers_start_without_a_call():
    app = ionian.App("warm")
    warm = app.function(min_containers=2, serialized=True)(lambda: os.getpid())
    with app.run():
        wait_until(lambda: warm.pool().workers == 2)


def test_exceptions_survive_pickling():
    for name in dir(exception):
        kind = getattr(exception, name)
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            continue
        made = kind("text")
        made.extra = 5
        again = pickle.loads(pickle.dumps(made))
        assert type(again) is kind and again.args == made.args and again.extra == 5


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def test_a_second_function_of_the_same_name_warns():
    app = ionian.App("twice")
    app.function(serialized=True, name="same")(lambda: 1)
    with pytest.warns(UserWarning, match="replaces the first"):
        app.function(serialized=True, name="same")(lambda: 2)


def test_importing_ionian_is_free_of_heavy_modules():
    import subprocess
    import sys

    code = "import sys, ionian; print([m for m in ('numpy', 'asyncio', 'cloudpickle', 'click') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_warnings_are_no_errors_in_a_plain_run():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with f.app.run():
            assert f.echo.remote(1) == 1


def test_inventory_and_lease_without_an_app():
    assert [device.type for device in ionian.inventory(simulate="A10G:1,H100:2").devices] == [
        "A10G",
        "H100",
        "H100",
    ]
    with ionian.lease("H100:2", simulate="A10G:1,H100:2") as lease:
        assert len(lease.visible_devices.split(",")) == 2
        with pytest.raises(exception.LeaseTimeoutError, match=f"pid {os.getpid()}"):
            ionian.lease("H100", simulate="A10G:1,H100:2", timeout=0.01)


def test_paths_with_odd_characters_and_a_lost_directory(tmp_path, monkeypatch):
    odd = tmp_path / "a b ü"
    odd.mkdir()
    monkeypatch.chdir(odd)
    odd.rmdir()
    with f.app.run():
        assert f.echo.remote(pathlib.Path("x")) == pathlib.Path("x")
