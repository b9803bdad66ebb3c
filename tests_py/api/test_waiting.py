"""Calls that wait for GPUs: for how long, and what happens when they would wait for ever."""

from __future__ import annotations

import os
import threading

import bodies as b
import pytest

import ionian
from ionian import exception


def app_with(name: str, **options):
    app = ionian.App(name)

    @app.function(gpu="any", serialized=True, scaledown_window=0.05, **options)
    def work():
        return "ran"

    return app, work


# ---- lease_timeout= ----------------------------------------------------------------------------------


def test_a_call_that_gets_no_gpu_in_time_says_who_holds_them():
    app, work = app_with("late", lease_timeout=0.2)
    with app.run(simulate="A10G:1", show_output=False):
        with ionian.lease("any", simulate="A10G:1") as held:
            with pytest.raises(exception.LeaseTimeoutError) as raised:
                work.remote()
            text = str(raised.value)
            assert "within its lease_timeout of 0.20 s" in text.splitlines()[0]
            assert f"pid {os.getpid()}, app ionian.lease" in text
            assert f"A10G {held.visible_devices}" in text
            book = ionian._core.LeaseBook(ionian.inventory(simulate="A10G:1"))
            b.wait_until(lambda: not book.queue())  # nobody waits any more
        assert work.remote() == "ran"


def test_every_call_has_the_whole_time():
    app, work = app_with("each", lease_timeout=0.6)
    with app.run(simulate="A10G:1", show_output=False):
        with ionian.lease("any", simulate="A10G:1"):
            first = work.spawn()
            with pytest.raises(TimeoutError):
                first.get(timeout=0.3)
            second = work.spawn()
            with pytest.raises(exception.LeaseTimeoutError):
                first.get(timeout=20)
        assert second.get(timeout=20) == "ran"


def test_the_time_a_body_takes_is_no_wait_for_gpus(world):
    app = ionian.App("busy")

    @app.function(gpu="any", serialized=True, lease_timeout=0.1)
    def work(seconds):
        import time

        time.sleep(seconds)
        return "ran"

    with app.run(simulate="A10G:1"):
        calls = [work.spawn(0.4), work.spawn(0)]
        assert [call.get(timeout=20) for call in calls] == ["ran", "ran"]


def test_the_pause_before_the_next_attempt_is_no_wait_for_gpus(world):
    app = ionian.App("again")
    once = str(world / "once")

    @app.function(
        gpu="any",
        serialized=True,
        scaledown_window=0.05,
        lease_timeout=1.0,
        retries=ionian.Retries(max_retries=1, initial_delay=1.5),
    )
    def work():
        import os

        if not os.path.exists(once):
            open(once, "w").close()
            raise RuntimeError("the first attempt")
        return "ran"

    with app.run(simulate="A10G:1", show_output=False):
        assert work.remote() == "ran"


def test_the_environment_bounds_functions_that_say_nothing(monkeypatch):
    monkeypatch.setenv("IONIAN_LEASE_TIMEOUT", "0.1")
    app, work = app_with("default")
    with app.run(simulate="A10G:1", show_output=False):
        with ionian.lease("any", simulate="A10G:1"):
            with pytest.raises(exception.LeaseTimeoutError):
                work.remote()
    monkeypatch.setenv("IONIAN_LEASE_TIMEOUT", "soon")
    with app.run(simulate="A10G:1"):
        with pytest.raises(exception.InvalidError, match="IONIAN_LEASE_TIMEOUT"):
            work.remote()


@pytest.mark.parametrize("value", [0, -1, "1", True, float("nan"), float("inf")])
def test_a_lease_timeout_is_seconds(value):
    with pytest.raises(exception.InvalidError, match="lease_timeout="):
        ionian.App().function(lease_timeout=value)


# ---- deadlocks ---------------------------------------------------------------------------------------


def nested_app(name: str):
    """Returns an app whose outer function waits for `go`, then calls the inner one."""
    app = ionian.App(name)
    inner = app.function(gpu="any", serialized=True, name="inner")(lambda: "inner ran")

    @app.function(gpu="any", serialized=True, name="outer", scaledown_window=0.05)
    def outer(started, go):
        import os
        import time

        open(started, "w").close()
        while not os.path.exists(go):
            time.sleep(0.005)
        return inner.remote()

    return app, outer


def test_two_runs_whose_nested_calls_need_each_others_gpu_are_a_deadlock_error(world):
    go = str(world / "go")
    (one, first), (two, second) = nested_app("one"), nested_app("two")
    options = {"simulate": "A10G:2", "show_output": False}
    with one.run(**options), two.run(**options):
        calls = []
        for name, outer in (("one", first), ("two", second)):
            calls.append(outer.spawn(str(world / name), go))
            b.wait_until((world / name).exists)
        open(go, "w").close()
        outcomes = []
        for call in calls:
            try:
                outcomes.append(call.get(timeout=30))
            except exception.LeaseDeadlockError as exc:
                outcomes.append(str(exc))
    assert outcomes.count("inner ran") == 1, outcomes
    (text,) = [text for text in outcomes if text != "inner ran"]
    assert "would wait for ever" in text.splitlines()[0] and len(text.splitlines()[0]) < 200
    for name in ("one", "two"):
        assert f"{name}.outer (A10G GPU-" in text and f" → {name}.inner waits for any" in text


def test_nested_ten_deep_the_last_call_names_the_whole_chain():
    app = ionian.App("deep")

    @app.function(gpu="any", serialized=True)
    def dive(depth, function):
        return depth if depth == 10 else function.remote(depth + 1, function)

    with app.run(simulate="A10G:10", show_output=False):
        assert dive.remote(1, dive) == 10
    with app.run(simulate="A10G:9", show_output=False):
        with pytest.raises(exception.LeaseDeadlockError) as raised:
            dive.remote(1, dive)
    text = str(raised.value)
    chain = next(line for line in text.splitlines() if line.startswith("chain: "))
    assert chain.count("deep.") == 10 and chain.count("A10G GPU-") == 9


def test_an_idle_warm_worker_gives_way_to_a_nested_call():
    app = ionian.App("warm")
    kept = app.function(gpu="any", serialized=True, name="kept", scaledown_window=600)(
        lambda: os.getpid()
    )
    inner = app.function(gpu="any", serialized=True, name="inner")(lambda: "inner ran")
    outer = app.function(gpu="any", serialized=True, name="outer")(lambda: inner.remote())
    with app.run(simulate="A10G:2"):
        kept.remote()  # stays warm on one GPU; the outer call takes the other
        assert outer.spawn().get(timeout=20) == "inner ran"


def test_a_nested_call_is_served_before_a_gang_that_waits_for_its_caller(world):
    app, outer = nested_app("chain")
    big = ionian.App("gang")
    gang = big.function(gpu="any:2", serialized=True, name="gang")(lambda: "gang ran")
    with (
        app.run(simulate="A10G:2", show_output=False),
        big.run(simulate="A10G:2", show_output=False),
    ):
        call = outer.spawn(str(world / "started"), str(world / "go"))
        b.wait_until((world / "started").exists)
        waits = threading.Thread(target=lambda: results.append(gang.remote()))
        results: list[str] = []
        waits.start()
        b.wait_until(lambda: gang.explain().queued)
        (world / "go").touch()
        assert call.get(timeout=30) == "inner ran"
        waits.join(30)
        assert results == ["gang ran"]
