"""Bodies that do what a body should not: the caller gets an answer, and the run goes on."""

from __future__ import annotations

import asyncio
import os
import signal

import bodies as b
import pytest

from ionian import exception

MISBEHAVIOUR = [
    "close all descriptors",
    "close the streams",
    "block every signal",
    "ignore SIGTERM",
    "leave a thread",
    "change the directory",
    "clear the environment",
    "write garbage",
]


@pytest.mark.parametrize("how", MISBEHAVIOUR)
def test_a_body_may_misuse_its_process(how):
    with b.app.run(show_output=False):
        assert b.misbehave.remote(how) == how
        assert b.misbehave.remote("nothing") == "nothing"
        assert b.alone.remote() > 0


def test_stdin_of_a_function_is_empty():
    with b.app.run():
        assert b.misbehave.remote("read stdin") == ""


def test_a_forked_child_that_returns_answers_nothing():
    with b.app.run(show_output=False):
        for _ in range(10):
            assert b.misbehave.spawn("fork and return in both").get(timeout=5) is True
        assert b.misbehave.remote("nothing") == "nothing"


def test_a_body_that_becomes_another_program_fails_its_call():
    with b.app.run():
        with pytest.raises(exception.WorkerDiedError) as raised:
            b.replace_itself.remote()
        assert raised.value.started and raised.value.exit_code == 0
        assert b.alone.remote() > 0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_function_of_a_module_can_use_multiprocessing(method):
    with b.app.run():
        assert b.squares.remote(method) == [0, 1, 4, 9]


def test_a_cancellation_that_the_body_swallows_does_not_disturb_the_next_call(world):
    note = world / "note"
    with b.app.run():
        call = b.swallow_cancellation.spawn(str(note))
        b.wait_until(note.exists)
        call.cancel()
        with pytest.raises(exception.RemoteError, match="cancelled"):
            call.get()
        assert b.alone.remote() > 0


def test_a_queued_call_that_is_cancelled_never_runs(world):
    with b.app.run():
        first = b.touch.spawn(str(world / "first"))
        blocked = [b.alone.spawn(1000), b.alone.spawn(1000)]
        queued = b.alone.spawn()
        queued.cancel()
        with pytest.raises(exception.RemoteError, match="cancelled"):
            queued.get()
        assert first.get(timeout=20) == str(world / "first")
        for call in blocked:
            call.cancel()
        assert b.alone.remote() > 0


def test_cancelling_a_call_that_is_done_changes_nothing():
    with b.app.run():
        call = b.alone.spawn()
        worker = call.get()
        call.cancel()
        call.cancel(terminate_containers=True)
        assert call.get() == worker
        assert b.alone.remote() == worker


def test_a_stopped_worker_is_not_taken_for_dead():
    with b.app.run():
        worker = b.alone.remote()
        os.kill(worker, signal.SIGSTOP)
        call = b.alone.spawn()
        with pytest.raises(TimeoutError):
            call.get(timeout=0.1)
        os.kill(worker, signal.SIGCONT)
        assert call.get(timeout=20) == worker


def test_a_run_survives_the_end_of_its_launcher():
    with b.app.run(show_output=False):
        launcher = b.kill_launcher.remote()
        b.wait_until(lambda: not os.path.exists(f"/proc/{launcher}"))
        assert b.alone.spawn().get(timeout=20) > 0


FAILURES = {
    "base": (b.OwnBase, "own"),
    "stop iteration": (StopIteration, "enough"),
    "timeout": (TimeoutError, "its own"),
    "ours": (exception.InvalidError, "ours"),
    "large": (exception.RemoteError, "ValueError"),
    "long chain": (ValueError, "outer"),
    "lone surrogate": (ValueError, "\ud800"),
}


@pytest.mark.parametrize("how", FAILURES)
def test_whatever_is_thrown_is_an_answer_and_the_worker_lives(how):
    kind, text = FAILURES[how]
    with b.app.run():
        with pytest.raises(kind) as raised:
            b.throw.remote(how)
        assert text in str(raised.value)
        assert isinstance(raised.value.__cause__, exception.RemoteTraceback)
        results = (
            list(b.throw.map([how, "nothing"], return_exceptions=True))
            if how != "base"
            else [None, None]
        )
        assert results[1] is None


def test_an_exception_that_ends_whoever_looks_at_it_is_an_answer():
    with b.app.run(show_output=False):
        with pytest.raises(exception.Error) as raised:
            b.throw.remote("evil text")
        assert not isinstance(raised.value, exception.WorkerDiedError)


def test_a_cancellation_that_a_body_makes_up_does_not_cancel_the_caller():
    async def main():
        async with b.app.run():
            task = asyncio.ensure_future(b.throw.remote.aio("cancelled"))
            await asyncio.wait([task])
            return task.cancelled(), task

    cancelled, task = asyncio.run(main())
    assert cancelled or task.exception() is not None


def test_stop_iteration_in_a_map_does_not_end_it_silently():
    with b.app.run():
        with pytest.raises((RuntimeError, StopIteration)):
            list(b.throw.map(["stop iteration", "nothing"]))
