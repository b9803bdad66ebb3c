"""One body, once for each GPU: what ranks are told, what the call returns, and how it fails."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import threading

import numpy
import pytest
import ranks as r
from bodies import wait_until

import ionian
from ionian import _rank, exception
from ionian.runner import Output


def test_every_rank_gets_the_arguments_and_the_environment_of_torchrun():
    with r.app.run(simulate="A10G:3"):
        ranks = r.who.remote({"x": 1})
    assert [rank["rank"] for rank in ranks] == [0, 1, 2]
    for number, rank in enumerate(ranks):
        assert rank["value"] == {"x": 1}
        assert (rank["world_size"], rank["local_rank"]) == (3, number)
        env = rank["env"]
        assert env["RANK"] == env["LOCAL_RANK"] == str(number)
        assert env["WORLD_SIZE"] == env["LOCAL_WORLD_SIZE"] == "3"
        assert env["MASTER_ADDR"] == "127.0.0.1"
        assert env["IONIAN_RANK"] is None, "a rank's own children are no ranks"
        assert len(rank["visible"].split(",")) == 3, "each rank sees all GPUs of the call"
    assert len({rank["env"]["MASTER_PORT"] for rank in ranks}) == 1
    assert len({rank["pid"] for rank in ranks}) == 3


def test_ranks_stay_warm_between_calls():
    with r.app.run(simulate="A10G:3"):
        pids = [[rank["pid"] for rank in r.who.remote(i)] for i in range(3)]
    assert pids[0] == pids[1] == pids[2]


def test_the_result_is_that_of_rank_0():
    with r.app.run(simulate="A10G:2"):
        assert r.first.remote("x") == (0, "x")
        assert r.coroutine.remote() == 2
        assert list(r.first.map(range(5))) == [(0, i) for i in range(5)]


@pytest.mark.parametrize("size", [0, 3, 100_000, 2_000_000])
def test_gathered_arrays_arrive_whole(size):
    with r.app.run(simulate="A10G:2"):
        first, second = r.arrays.remote(size)
    assert numpy.array_equal(first, numpy.zeros(size, numpy.int64))
    assert numpy.array_equal(second, numpy.ones(size, numpy.int64))


def test_the_master_port_can_be_bound_by_rank_0_and_is_given_to_nobody_else():
    app = ionian.App("port")

    @app.function(gpu="A10G:2", serialized=True)
    @ionian.spmd(gather=True)
    def bind():
        address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        with socket.socket() as free:
            free.bind((address[0], 0))
            assert free.getsockname() != address
        if ionian.rank() == 0:
            with socket.socket() as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.bind(address)
                server.listen()
        return True

    with app.run(simulate="A10G:2"):
        assert bind.remote() == [True, True]
        assert bind.remote() == [True, True]


FAILURES = {
    "raise": (ValueError, "this rank says no"),
    "all raise": ((ValueError, KeyError), ""),
    "kill": (exception.WorkerDiedError, "SIGKILL"),
    "exit": (exception.WorkerDiedError, "exit code 0"),
    "sys.exit": (exception.WorkerDiedError, "exit code 3"),
}


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("how", FAILURES)
def test_the_first_rank_that_fails_fails_the_call_and_ends_the_others(how, rank):
    kind, text = FAILURES[how]
    with r.app.run(simulate="A10G:2"):
        with pytest.raises(exception.RankError) as raised:
            r.fail.remote(how, rank)
        error = raised.value
        assert isinstance(error.__cause__, kind) and text in str(error.__cause__)
        assert error.causes[error.rank] is error.__cause__
        if how != "all raise":
            assert error.rank == rank
            assert "time.sleep" in error.stacks[1 - rank] or "in fail" in error.stacks[1 - rank]
        assert f"rank {error.rank} of 2" in str(error).splitlines()[0]
        assert len(str(error).splitlines()[0]) < 200
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        assert r.fail.remote("nothing", 0) == "done", "the GPUs came back, and so did the ranks"


def test_the_last_words_of_a_killed_rank_are_in_its_error():
    with r.app.run(simulate="A10G:2"), pytest.raises(exception.RankError) as raised:
        r.fail.remote("kill", 1)
    assert "a last word" in str(raised.value.__cause__)


@pytest.mark.parametrize(
    ("how", "expected"), [("stop", "stopped by a signal"), ("skip", "in fail")]
)
def test_a_rank_that_never_comes_back_ends_the_call_with_every_stack(how, expected):
    with r.app.run(simulate="A10G:2"):
        with pytest.raises(exception.FunctionTimeoutError) as raised:
            r.fail.remote(how, 1)
        assert expected in str(raised.value)
        assert "rank 0 was at:" in str(raised.value)
        assert "_worker.py" not in str(raised.value), "our own frames say nothing"
        assert r.fail.remote("nothing", 0) == "done"


def test_a_cancelled_call_is_interrupted_in_every_rank(tmp_path):
    with r.app.run(simulate="A10G:2"):
        call = r.sleep.spawn(str(tmp_path))
        wait_until(lambda: len(list(tmp_path.glob("[01]"))) == 2)
        call.cancel()
        with pytest.raises(exception.RemoteError):
            call.get(timeout=10)
        wait_until(lambda: len(list(tmp_path.glob("cancelled *"))) == 2)
        assert r.first.remote(1) == (0, 1)


def test_a_rank_that_dies_idle_is_not_noticed_by_the_next_call():
    with r.app.run(simulate="A10G:3"):
        before = r.who.remote(0)
        os.kill(before[2]["pid"], signal.SIGKILL)
        # Its leader has seen it: the first thread of a process can end before the others do.
        wait_until(lambda: not os.path.exists(f"/proc/{before[2]['pid']}"))
        after = r.who.remote(0)
        assert {rank["pid"] for rank in before}.isdisjoint({rank["pid"] for rank in after})


def test_the_leader_killed_takes_its_ranks_along(tmp_path):
    with r.app.run(simulate="A10G:2"):
        call = r.sleep.spawn(str(tmp_path))
        wait_until(lambda: len(list(tmp_path.glob("[01]"))) == 2)
        leaders = [pid for pid in children_named("_launcher") if len(children_of(pid)) == 2]
        assert len(leaders) == 1
        ranks = children_of(leaders[0])
        os.kill(leaders[0], signal.SIGKILL)
        with pytest.raises(exception.WorkerDiedError):
            call.get(timeout=10)
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in ranks))


def test_programs_that_ranks_leave_behind_end_with_the_run(tmp_path):
    with r.app.run(simulate="A10G:2"):
        r.leave_a_child.remote(str(tmp_path))
        pids = [int(file.read_text()) for file in tmp_path.glob("[01]")]
        assert len(pids) == 2
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_lines_of_ranks_come_whole_and_say_whose_they_are():
    lines: list[str] = []

    class Lines(Output):
        def line(self, stream, label, text):
            lines.append(text)

    with r.app.run(simulate="A10G:2", output=Lines()):
        r.talk.remote(500)
        r.talk.remote(0)
    for rank in (0, 1):
        mine = [line for line in lines if line.startswith(f"[rank {rank}] ")]
        assert mine == [f"[rank {rank}] line {i}" for i in range(500)]


def test_a_run_inside_a_rank_is_not_one_of_its_ranks():
    with r.app.run(simulate="A10G:2"):
        assert r.nested.remote() == [(None, 1), None]


def test_calls_from_many_threads_are_answered_in_turn():
    results: list[object] = []
    with r.app.run(simulate="A10G:2"):
        threads = [
            threading.Thread(target=lambda i=i: results.append(r.first.remote(i)))
            for i in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == [(0, i) for i in range(16)]


def test_a_body_runs_as_a_single_rank_where_it_is_called_locally():
    assert r.first.local("here") == (0, "here")
    assert (ionian.rank(), ionian.world_size(), ionian.local_rank()) == (0, 1, 0)


DECLARATIONS = {
    "no gpu": ("app.function()(ionian.spmd()(body))", "gpu="),
    "wrong order": ('ionian.spmd()(app.function(gpu="any")(body))', "above @ionian.spmd()"),
    "no parentheses": ("ionian.spmd(body)", "forget parentheses"),
    "gather of a wrong type": ("ionian.spmd(gather=2)", "True or False"),
    "not a function": ("ionian.spmd()(3)", "expected a function"),
}


@pytest.mark.parametrize("how", DECLARATIONS)
def test_a_wrong_declaration_says_what_to_write(how):
    app = ionian.App("declared wrongly")

    def body():
        pass

    source, text = DECLARATIONS[how]
    with pytest.raises(exception.InvalidError) as raised:
        eval(source, {"app": app, "ionian": ionian, "body": body})
    assert text in str(raised.value)


def test_a_rank_on_a_slice_sees_its_gpu_only_and_counts_as_a_machine():
    leased = ["GPU-a/0", "GPU-a/1"]
    env = [_rank.environment(number, leased, 1234, "run") for number in (0, 1)]
    for number in (0, 1):
        assert env[number]["RANK"] == env[number]["GROUP_RANK"] == str(number)
        assert env[number]["LOCAL_RANK"] == "0" and env[number]["LOCAL_WORLD_SIZE"] == "1"
        assert env[number]["CUDA_VISIBLE_DEVICES"] == "GPU-a"
    assert env[0]["NCCL_HOSTID"] != env[1]["NCCL_HOSTID"]
    assert "NCCL_HOSTID" not in _rank.environment(0, ["GPU-a", "GPU-b"], 1, "run")


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def children_named(text: str) -> list[int]:
    """Returns the processes of this run whose command line has ``text``."""
    found, todo = [], children_of(os.getpid())
    while todo:
        pid = todo.pop()
        todo += children_of(pid)
        with open(f"/proc/{pid}/cmdline") as file:
            if text in file.read():
                found.append(pid)
    return found


def test_ranks_start_afresh_where_the_code_cannot_be_forked(tmp_path):
    script = tmp_path / "threads.py"
    script.write_text(
        textwrap.dedent(
            """
            import threading, time
            import ionian

            threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
            app = ionian.App("afresh")

            @app.function(gpu="A10G:2")
            @ionian.spmd(gather=True)
            def who(x):
                return ionian.rank(), ionian.world_size(), x

            with app.run(simulate="A10G:2", show_output=False):
                print(who.remote(7))
                print(who.remote(8))
            """
        )
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[(0, 2, 7), (1, 2, 7)]", "[(0, 2, 8), (1, 2, 8)]"]
