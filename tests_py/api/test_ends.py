"""How calls and workers are ended: timeouts, cancellation, fresh workers, other options."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time

import attempts as a
import pytest
from bodies import wait_until

import ionian
from ionian import exception, runner

# ---- timeouts --------------------------------------------------------------------------------------


def test_a_body_that_ran_out_of_time_may_clean_up_before_its_worker_ends(world):
    with a.app.run(show_output=False):
        with pytest.raises(exception.FunctionTimeoutError, match="0.3 s"):
            a.cleans_up.remote(str(world / "cleaned"))
        wait_until((world / "cleaned").exists)


def test_a_loop_that_holds_the_interpreter_ends_too(world, monkeypatch):
    monkeypatch.setattr(runner, "_GRACE", 0.1)
    with a.app.run(show_output=False):
        before = a.holds_the_gil.remote(False)
        with pytest.raises(exception.FunctionTimeoutError):
            a.holds_the_gil.remote(True)
        assert a.holds_the_gil.remote(False) != before
        wait_until(lambda: not os.path.exists(f"/proc/{before}"))


class Slow:
    """Takes long to be loaded."""

    def __reduce__(self):
        return time.sleep, (1000,)


def test_a_worker_that_is_not_ready_in_time_fails_its_call_and_says_so():
    app = ionian.App("slow to load")
    slow = Slow()

    @app.function(serialized=True, startup_timeout=0.2)
    def work():
        return slow

    @app.function(serialized=True)
    def other():
        return "ran"

    with app.run(show_output=False):
        with pytest.raises(exception.WorkerStartError, match="startup_timeout of 0.2 s") as raised:
            work.remote()
        assert not raised.value.started
        assert other.remote() == "ran"


def test_ranks_that_are_not_ready_in_time_fail_their_call_and_say_so():
    app = ionian.App("slow ranks")
    slow = Slow()

    @app.function(serialized=True, gpu="A10G:2", startup_timeout=0.3)
    @ionian.spmd()
    def work():
        return slow

    with app.run(simulate="A10G:2", show_output=False):
        with pytest.raises(exception.WorkerStartError, match="startup_timeout of 0.3 s"):
            work.remote()


def test_startup_timeout_is_the_timeout_unless_it_is_given():
    options = ionian.App("x").function(timeout=7)(lambda: 1).options
    assert options.startup_timeout == 7
    options = ionian.App("x").function(timeout=7, startup_timeout=9)(lambda: 1).options
    assert (options.timeout, options.startup_timeout) == (7, 9)


# ---- cancellation ----------------------------------------------------------------------------------


def test_a_body_that_swallows_its_cancellation_loses_its_worker_after_the_grace(world, monkeypatch):
    monkeypatch.setattr(runner, "_GRACE", 0.1)
    path = world / "running"
    with a.app.run(show_output=False):
        before = a.deaf.remote("")
        call = a.deaf.spawn(str(path))
        wait_until(path.exists)
        call.cancel()
        with pytest.raises(exception.RemoteError, match="cancelled"):
            call.get(timeout=0)
        assert a.deaf.remote("") != before, "and the next call gets another"


def test_a_cancelled_coroutine_gets_cancelled_error_and_is_gone_before_the_next_call(world):
    first, second = str(world / "first"), str(world / "second")
    with a.app.run(show_output=False):
        call = a.sleeps.spawn(first, 1000)
        wait_until(lambda: os.path.exists(first))
        call.cancel()
        with pytest.raises(exception.RemoteError, match="cancelled"):
            call.get(timeout=0)
        assert a.sleeps.remote(second, 0.01) == "slept"
        assert os.path.exists(first + ".cancelled") and not os.path.exists(second + ".cancelled")


STATES = {
    "queued": (lambda world: a.counts.spawn(str(world / "behind"), 0), "behind", 0),
    "running": (lambda world: None, "ahead", 1),
}


@pytest.mark.parametrize("terminate", [False, True])
@pytest.mark.parametrize("state", STATES)
def test_a_call_is_cancelled_at_once_in_whatever_state(world, state, terminate):
    spawn, name, entries = STATES[state]
    with a.app.run(show_output=False):
        ahead = a.counts.spawn(str(world / "ahead"), 1000)
        wait_until(lambda: a.entered(world / "ahead") == 1)
        call = spawn(world) or ahead
        call.cancel(terminate_containers=terminate)
        with pytest.raises(exception.RemoteError, match="cancelled"):
            call.get(timeout=0)
        ahead.cancel()
        assert a.counts.remote(str(world / "next"), 0) == 1
        assert a.entered(world / name) == entries


def test_ctrl_c_in_a_map_cancels_its_inputs_and_none_of_them_begins(world):
    path = world / "entered"

    def interrupt() -> None:
        wait_until(lambda: a.entered(path) == 1)
        os.kill(os.getpid(), signal.SIGINT)

    with a.app.run(show_output=False):
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            list(a.counts.map([str(path)] * 50, [1000] * 50))
        thread.join()
        assert a.counts.remote(str(world / "next"), 0) == 1
        assert a.entered(path) == 1


# ---- a fresh worker for each call ------------------------------------------------------------------


def test_a_single_use_worker_serves_one_call():
    with a.app.run():
        assert len({a.fresh.remote() for _ in range(3)} | set(a.fresh.map(range(7)))) == 10


def test_the_old_name_of_single_use_is_accepted_with_a_warning():
    with pytest.warns(DeprecationWarning, match="single_use_containers="):
        made = ionian.App("x").function(max_inputs=1)(lambda: 1)
    assert made.options.single_use_containers
    with pytest.warns(DeprecationWarning), pytest.raises(exception.InvalidError, match="got 2"):
        ionian.App("x").function(max_inputs=2)


# ---- with_options ----------------------------------------------------------------------------------


def test_a_handle_with_other_options_has_workers_of_its_own_and_shares_them_with_its_equals(world):
    variant = a.counts.with_options(retries=a.at_once, max_containers=2)
    assert a.counts.with_options(max_containers=2).with_options(retries=a.at_once) is variant
    assert variant.with_options(retries=0, max_containers=1).options.retries is None
    with a.app.run(simulate="A10G:1", show_output=False):
        assert variant.remote(str(world / "x"), 0) == a.counts.remote(str(world / "y"), 0) == 1
        assert variant.pool() is not a.counts.pool()
        assert a.once.with_options(retries=a.at_once).remote(str(world / "z"), 2, "raises") == 3
        with pytest.raises(KeyError):
            a.once.remote(str(world / "once"), 2, "raises")


def test_what_says_nothing_does_not_unset_an_option():
    function = ionian.App("x").function(gpu="A10G", timeout=5, env={"A": "b"})(lambda: 1)
    options = function.with_options(gpu=None, timeout=0, env={}, max_containers=None).options
    assert str(options.gpu) == "A10G" and options.timeout == 5 and options.env == {"A": "b"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"serialized": True}, "serialized= belongs to @app.function"),
        ({"min_containers": 1}, "min_containers= belongs to @app.function"),
        ({"retries": -1}, "max_retries="),
        ({"gpu": "H100:0"}, "H100:0"),
        ({"nonsense": 1}, "unknown option nonsense="),
    ],
)
def test_options_that_cannot_be_changed_are_refused(options, text):
    with pytest.raises(exception.InvalidError, match=text):
        a.counts.with_options(**options)


def test_a_handle_with_other_options_can_be_sent():
    variant = a.counts.with_options(retries=a.at_once, timeout=17)
    again = pickle.loads(pickle.dumps(variant))
    assert again.options.key() == variant.options.key()
