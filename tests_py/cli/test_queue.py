"""``ionian explain``, ``ionian ps`` and ``ionian stop`` beside runs that hold GPUs and wait for them."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import bodies as b
import functions as f
import pytest

import ionian as package
from ionian import _runs, exception

#: The module; the package's attribute of that name is the command.
stop = importlib.import_module("ionian.cli.stop")


def ionian(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ionian", *arguments], capture_output=True, text=True, timeout=60
    )


def app_that_waits(name: str):
    """Returns an app and its function that runs until the file it is given is there."""
    app = package.App(name)

    @app.function(gpu="any", serialized=True, scaledown_window=0.05)
    def work(started, go):
        import os
        import time

        open(started, "w").close()
        while not os.path.exists(go):
            time.sleep(0.005)
        return "done"

    return app, work


# ---- explain -----------------------------------------------------------------------------------------


def test_explain_says_which_gpus_would_be_granted_and_enters_no_queue():
    said = ionian("explain", "--simulate", "A10G:2", "A10G:2")
    assert said.returncode == 0
    assert said.stdout.startswith("A10G:2 would be granted now: A10G GPU-")
    assert json.loads(ionian("ps", "--json").stdout)["queue"] == []


def test_explain_names_the_holder_and_what_is_free_and_exits_1():
    with package.lease("A10G", simulate="A10G:2") as lease:
        held = lease.visible_devices
        said = ionian("explain", "--simulate", "A10G:2", "A10G:2")
        data = json.loads(ionian("explain", "--json", "--simulate", "A10G:2", "A10G:2").stdout)
    assert said.returncode == 1
    assert "A10G:2 would wait: 1 of 2 GPUs free, next in line" in said.stdout
    assert "needs 2 x A10G; 1 free (A10G GPU-" in said.stdout
    holder = rf"1 leased by \S+, pid {os.getpid()}, app ionian.lease, for \d+ s \(A10G {held}\)"
    assert re.search(holder, said.stdout)
    assert data["state"] == "waits" and data["grant"] == []
    (alternative,) = data["alternatives"]
    assert alternative["busy"] == [held] and len(alternative["free"]) == 1
    assert [gpu["lease"]["pid"] for gpu in data["gpus"] if gpu["lease"]] == [os.getpid()]


@pytest.mark.parametrize("arguments", [["H100:2"], ["A10G:3"], ["H100", "B200"]])
def test_what_this_machine_can_never_grant_exits_3_and_says_what_exists(arguments):
    said = ionian("explain", "--simulate", "A10G:2", *arguments)
    assert said.returncode == 3
    assert "can never be granted here" in said.stdout and "2 x A10G" in said.stdout
    data = json.loads(ionian("explain", "--json", "--simulate", "A10G:2", *arguments).stdout)
    assert data["state"] == "never" and not any(a["possible"] for a in data["alternatives"])


def test_explain_refuses_what_is_no_request():
    said = ionian("explain", "H100:0")
    assert said.returncode == 1 and "H100:0" in said.stderr


def test_explain_knows_slices():
    said = ionian("explain", "--simulate", "A10G:1", "--split", "2", "A10G:2")
    assert said.returncode == 0 and said.stdout.count("/") == 2


def test_a_function_explains_itself_before_and_while_it_waits(world):
    app, work = app_that_waits("explains")
    with app.run(simulate="A10G:1", show_output=False):
        assert work.explain().grant
        with package.lease("A10G", simulate="A10G:1"):
            call = work.spawn(str(world / "started"), str(world / "go"))
            explanation = b.wait_until(lambda: (e := work.explain()).queued and e)
            assert explanation.position == 0 and len(explanation.queue) == 1
            assert f"leased by {explanation.gpus[0].owner.user}, pid {os.getpid()}" in str(
                explanation
            )
        (world / "go").touch()
        assert call.get(timeout=20) == "done"
    with pytest.raises(exception.InvalidError, match="no gpu="):
        f.echo.explain()


# ---- ps ----------------------------------------------------------------------------------------------


def test_ps_shows_the_run_its_worker_its_lease_and_who_waits(world):
    app, work = app_that_waits("shown")
    other, waits = app_that_waits("behind")
    go = str(world / "go")
    with app.run(simulate="A10G:1"), other.run(simulate="A10G:1", show_output=False):
        call = work.spawn(str(world / "started"), go)
        b.wait_until((world / "started").exists)
        second = waits.spawn(str(world / "second"), go)
        data = b.wait_until(lambda: (d := json.loads(ionian("ps", "--json").stdout))["queue"] and d)
        shown = ionian("ps").stdout
        runs = {run["run"]: run for run in data["runs"]}
        mine = runs[app.session("test").executor.run_id]
        assert (mine["app"], mine["client"], mine["uid"]) == ("shown", os.getpid(), os.geteuid())
        (worker,) = mine["workers"]
        assert worker["state"] == "running" and worker["function"] == work.name
        assert os.path.exists(f"/proc/{worker['pid']}")
        (lease,) = data["leases"]
        assert [lease["uuid"]] == worker["gpus"] and lease["gpu"] == "A10G"
        assert (lease["run"], lease["function"]) == (mine["run"], work.name)
        (ticket,) = data["queue"]
        assert (ticket["request"], ticket["app"]) == ("any", "behind")
        assert ticket["run"] == other.session("test").executor.run_id
        for text in (mine["run"][:8], "shown", "behind", f"A10G {lease['uuid']}", "running"):
            assert text in shown
        (world / "go").touch()
        assert [call.get(timeout=20), second.get(timeout=20)] == ["done", "done"]


def test_ps_of_a_quiet_machine_says_so():
    assert "nobody waits for GPUs" in ionian("ps").stdout


# ---- stop --------------------------------------------------------------------------------------------


def test_stop_ends_the_run_and_its_calls_but_not_the_program(world):
    app, work = app_that_waits("stopped")
    with app.run(simulate="A10G:1", show_output=False):
        run = app.session("test").executor.run_id
        call = work.spawn(str(world / "started"), str(world / "never"))
        queued = work.spawn(str(world / "queued"), str(world / "never"))
        b.wait_until((world / "started").exists)
        said = ionian("stop", run[:10])
        assert said.returncode == 0, said.stderr
        assert f"stopped run {run} of stopped" in said.stdout
        for each in (call, queued):
            with pytest.raises(exception.RemoteError, match="the run was stopped"):
                each.get(timeout=20)
        with pytest.raises(exception.ExecutionError, match="was stopped"):
            work.remote("", "")
        assert not _runs.processes_of(run)
        assert not (world / "queued").exists()
    with package.lease("A10G", simulate="A10G:1", timeout=5):
        pass
    with app.run(simulate="A10G:1"):  # the app may be run again
        (world / "go").touch()
        assert work.remote(str(world / "again"), str(world / "go")) == "done"


def test_stop_gives_a_worker_time_to_end_by_itself_and_now_does_not(world):
    app = package.App("cleans up")

    @app.function(serialized=True)
    def work(started, ended):
        import signal
        import sys
        import time

        def end(*_):
            open(ended, "w").close()
            sys.exit(0)

        signal.signal(signal.SIGTERM, end)
        open(started, "w").close()
        time.sleep(1000)

    for options, cleaned in ([], True), (["--now"], False):
        started, ended = world / f"started{cleaned}", world / f"ended{cleaned}"
        with app.run(show_output=False):
            call = work.spawn(str(started), str(ended))
            b.wait_until(started.exists)
            assert ionian("stop", *options, app.session("x").executor.run_id).returncode == 0
            with pytest.raises(exception.RemoteError):
                call.get(timeout=20)
        assert ended.exists() == cleaned


def test_stop_ends_also_a_call_that_waits_for_its_next_attempt(world):
    app = package.App("tries again")

    @app.function(serialized=True, retries=package.Retries(max_retries=1, initial_delay=60.0))
    def work(started):
        open(started, "w").close()
        raise RuntimeError("the first attempt")

    with app.run(show_output=False):
        call = work.spawn(str(world / "started"))
        session = app.session("test")
        b.wait_until((world / "started").exists)
        assert ionian("stop", session.executor.run_id).returncode == 0
        with pytest.raises(exception.RemoteError, match="the run was stopped"):
            call.get(timeout=20)


def test_stop_says_what_it_found():
    said = ionian("stop", "ffffffffffffffffffff")
    assert said.returncode == 1 and "no run's id begins with 'fff" in said.stderr
    assert ionian("stop", "").returncode == 1


def test_stop_wants_a_prefix_of_one_run_alone(monkeypatch):
    runs = [_runs.Run(f"ab{n}", 1, 1, os.geteuid(), 0, "app") for n in range(2)]
    monkeypatch.setattr(_runs, "find_runs", lambda: runs)
    with pytest.raises(exception.InvalidError, match="2 runs: ab0"):
        stop._choose("ab")
    assert stop._choose("ab1").id == "ab1"


def test_stop_refuses_another_users_run(monkeypatch):
    theirs = _runs.Run("ab", 1, 1, os.geteuid() + 1, 0, "app")
    monkeypatch.setattr(_runs, "find_runs", lambda: [theirs])
    with pytest.raises(exception.PermissionDeniedError, match="only its own user"):
        stop._choose("ab")


def test_stop_never_signals_a_process_that_took_the_guardians_number(monkeypatch):
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    try:
        found = _runs.Run("ab", bystander.pid, 1, os.geteuid(), 0, "app")
        monkeypatch.setattr(stop, "_choose", lambda prefix: found)
        with pytest.raises(exception.NotFoundError, match="just ended"):
            stop.stop.callback(now=True, run="ab")
        assert bystander.poll() is None
    finally:
        bystander.send_signal(signal.SIGKILL)
        bystander.wait()


def test_a_guardian_that_does_not_answer_is_killed(monkeypatch, world):
    monkeypatch.setattr(stop, "_GRACE", 0.0)
    monkeypatch.setattr(stop, "_MARGIN", 0.2)
    app, work = app_that_waits("frozen")
    with app.run(simulate="A10G:1", show_output=False):
        call = work.spawn(str(world / "started"), str(world / "never"))
        b.wait_until((world / "started").exists)
        (run,) = [r for r in _runs.find_runs() if r.id == app.session("x").executor.run_id]
        os.kill(run.guardian, signal.SIGSTOP)
        monkeypatch.setattr(stop, "_left", lambda found: [])  # the caller starts the next guardian
        stop.stop.callback(now=False, run=run.id)
        b.wait_until(lambda: _runs.run_of(run.guardian) is None)
        with pytest.raises(exception.RemoteError):
            call.get(timeout=20)


def test_ages_are_short():
    from ionian.cli.records import age

    now = time.time_ns()
    assert [age(now - s * 10**9) for s in (5, 300, 7300)] == ["5 s", "5 min", "2 h"]
