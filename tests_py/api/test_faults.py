"""What the caller sees when something breaks, and that the run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import functions as f
import pytest
from audit import processes_of

from ionian import exception

DEATHS = {
    "sys.exit": {"exit_code": 3, "signal": None},
    "sys.exit text": {"exit_code": 1, "signal": None},
    "_exit": {"exit_code": 0, "signal": None},
    "segv": {"exit_code": None, "signal": signal.SIGSEGV},
    "abort": {"exit_code": None, "signal": signal.SIGABRT},
    "kill": {"exit_code": None, "signal": signal.SIGKILL},
}


@pytest.mark.parametrize("how", DEATHS)
def test_a_worker_that_ends_in_the_body_fails_its_call_with_the_cause(how):
    with f.app.run():
        with pytest.raises(exception.WorkerDiedError) as raised:
            f.die.remote(how)
        died = raised.value
        assert {"exit_code": died.exit_code, "signal": died.signal} == DEATHS[how]
        assert died.started and died.pid > 0
        assert len(str(died).splitlines()[0]) < 200
        assert f.die.remote("lives") == "lives"


def test_the_last_words_of_a_dead_worker_are_in_its_error():
    with f.app.run():
        with pytest.raises(exception.WorkerDiedError, match="a last word"):
            f.die.remote("sys.exit text")


def test_the_gpus_of_a_dead_worker_are_named_and_used_again():
    app = f.ionian.App("gpu deaths")

    @app.function(gpu="A10G", serialized=True)
    def die(how):
        if how:
            os.kill(os.getpid(), 9)
        return os.environ["CUDA_VISIBLE_DEVICES"]

    with app.run(simulate="A10G:1"):
        gpu = die.remote(False)
        with pytest.raises(exception.WorkerDiedError) as raised:
            die.remote(True)
        assert raised.value.gpus == [f"A10G {gpu}"]
        assert die.remote(False) == gpu


FAILURES = {
    "key": (KeyError, "no such"),
    "needs two": (exception.RemoteError, "NeedsTwo: 1 and 2"),
    "reduce raises": (exception.RemoteError, "ReduceRaises: odd"),
    "cycle": (ValueError, "first"),
    "huge": (exception.RemoteError, "characters left out"),
    "interrupt": (exception.RemoteError, "KeyboardInterrupt"),
    "recursion": (RecursionError, ""),
}


@pytest.mark.parametrize("how", FAILURES)
def test_whatever_a_function_raises_is_an_answer(how):
    kind, text = FAILURES[how]
    with f.app.run():
        worker = f.pid.remote()
        with pytest.raises(kind) as raised:
            f.fail.remote(how)
        assert text in str(raised.value)
        assert "in fail" in str(raised.value.__cause__), "the far side's traceback is the cause"
        assert "_worker.py" not in str(raised.value.__cause__)
        assert f.pid.remote() == worker
        assert f.echo.remote(how) == how


def test_an_exception_whose_text_raises_is_an_answer_too():
    with f.app.run():
        with pytest.raises(f.TextRaises):
            f.fail.remote("text raises")


@pytest.mark.parametrize(
    ("what", "path"),
    [("generator", "the result"), ("file", r"the result\['log'\]\[1\]"), ("lock", "'lock'")],
)
def test_a_result_that_cannot_be_sent_names_the_place(what, path):
    with f.app.run():
        with pytest.raises(exception.SerializationError, match=path):
            f.returns.remote(what)
        assert f.returns.remote("nothing") is None


def test_arguments_that_kill_their_reader_are_tried_three_times_at_the_most():
    with f.app.run():
        with pytest.raises(exception.WorkerDiedError) as raised:
            f.echo.remote(f.KillsWhenRead())
        assert not raised.value.started
        assert f.echo.remote(1) == 1


def test_a_call_over_its_timeout_fails_and_the_pool_goes_on():
    with f.app.run():
        with pytest.raises(exception.FunctionTimeoutError, match="0.3 s"):
            f.limited.remote(60)
        assert f.limited.remote(0) == 0


def test_a_request_that_can_never_be_granted_says_what_exists():
    with f.app.run(simulate="L4:1"):
        with pytest.raises(exception.UnsatisfiableError, match="1 x L4"):
            f.on_two.remote()
        assert f.echo.remote(1) == 1


def test_no_gpu_and_no_simulation_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setenv("IONIAN_NVML_LIBRARY", "/nowhere/libnvidia-ml.so")
    with f.app.run():
        with pytest.raises(exception.UnsatisfiableError, match="--simulate"):
            f.on_gpu.remote()


def test_a_daemon_that_a_function_leaves_ends_with_the_run():
    with f.app.run():
        daemon = f.leave_a_daemon.remote()
        os.kill(daemon, 0)
    assert not os.path.exists(f"/proc/{daemon}") or "Z" in open(f"/proc/{daemon}/stat").read()


def test_a_module_that_cannot_be_imported_there_says_why(tmp_path, monkeypatch):
    script = tmp_path / "broken.py"
    script.write_text(
        textwrap.dedent("""
            import ionian
            if not ionian.is_local():
                raise ImportError("only here")
            app = ionian.App("broken")
            @app.function()
            def f(): pass
            with app.run():
                f.remote()
        """)
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert "WorkerStartError" in ended.stderr and "only here" in ended.stderr


def test_a_handle_used_in_a_forked_child_is_an_error_there():
    with f.app.run():
        assert f.echo.remote(1) == 1
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                f.echo.remote(2)
                os.write(write, b"it answered")
            except exception.ExecutionError as exc:
                os.write(write, str(exc).encode())
            finally:
                os._exit(0)
        os.close(write)
        assert b"forked" in os.read(read, 4096)
        os.close(read)
        os.waitpid(child, 0)
        assert f.echo.remote(3) == 3


SCRIPT = """
import os, signal, sys, time
import ionian
app = ionian.App("victim")

@app.function(gpu="A10G")
def work(x):
    if os.fork() == 0:
        os.setsid()
        time.sleep(1000)
    open(os.path.join(os.environ["MARKS"], str(x)), "w").close()
    time.sleep(1000)

if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup
    with app.run(simulate="A10G:2"):
        list(work.map(range(4)))
"""


@pytest.fixture
def victim(world, monkeypatch):
    """A client in the middle of a map over two GPUs, whose workers have left grandchildren."""
    monkeypatch.setenv("MARKS", str(world))
    (world / "victim.py").write_text(SCRIPT)
    client = subprocess.Popen([sys.executable, world / "victim.py"], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not ((world / "0").exists() and (world / "1").exists()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    yield client
    client.kill()
    client.communicate()


def wait_until_gone(world) -> None:
    deadline = time.monotonic() + 5
    while left := processes_of(str(world / "locks")):
        assert time.monotonic() < deadline, left
        time.sleep(0.005)


def all_gpus_are_free() -> None:
    with f.ionian.lease("A10G:2", simulate="A10G:2", timeout=1) as lease:
        assert len(lease.devices) == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV])
def test_a_client_killed_in_a_map_leaves_nothing_and_frees_every_gpu(world, victim, number):
    victim.send_signal(number)
    victim.wait(20)
    wait_until_gone(world)
    all_gpus_are_free()


def test_ctrl_c_ends_the_run_with_keyboard_interrupt(world, victim):
    victim.send_signal(signal.SIGINT)
    _, err = victim.communicate(timeout=20)
    assert b"KeyboardInterrupt" in err
    wait_until_gone(world)
    all_gpus_are_free()


def test_ctrl_c_twice_ends_it_too(world, victim):
    for _ in range(2):
        victim.send_signal(signal.SIGINT)
        time.sleep(0.02)  # two signals at once count as one
    victim.wait(20)
    wait_until_gone(world)
    all_gpus_are_free()


def _guardian(world) -> int:
    for process in processes_of(str(world / "locks")):
        if "ionian-guardian" in process:
            return int(process.split(":")[0])
    raise AssertionError("no guardian")


def test_a_killed_guardian_fails_the_call_and_the_next_one_gets_a_new_guardian(world):
    with f.app.run():
        call = f.wait_for.spawn(str(world / "never"), str(world / "started"))
        deadline = time.monotonic() + 20
        while not (world / "started").exists():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(_guardian(world), signal.SIGKILL)
        with pytest.raises(exception.WorkerDiedError, match="guardian"):
            call.get(timeout=20)
        assert f.echo.remote(1) == 1


def test_two_unrelated_programs_wait_for_each_other(world):
    code = "import ionian, sys; l = ionian.lease('any', simulate='A10G:1'); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with f.app.run(simulate="A10G:1", show_output=False):
        call = f.on_gpu.spawn()
        with pytest.raises(TimeoutError):
            call.get(timeout=0.1)
        holder.kill()
        assert call.get(timeout=20)[1] is None
    holder.communicate()
