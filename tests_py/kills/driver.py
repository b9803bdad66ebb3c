"""Kills processes of real runs at random moments, and audits what is left.

    python tests_py/kills/driver.py --kills 1000 --seed 7 --lanes 2

A failure names its seed and number; ``--only NUMBER`` with that seed repeats it. Each lane is a process
with a world of its own, and forks its clients, so that a cycle costs no import but the launcher's.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import random
import select
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

import audit  # noqa: E402
import kill_program  # noqa: E402

PHASES = ("start", "steady", "transfer", "end")
#: Whom a kill takes. "all" is everything but what hides: nobody is left who could clean up at once.
VICTIMS: tuple[tuple[str, ...], ...] = (
    ("client",),
    ("guardian",),
    ("launcher",),
    ("worker",),
    ("rank",),
    ("hidden",),
    ("client", "guardian"),
    ("guardian", "launcher"),
    ("client", "launcher"),
    ("worker", "guardian"),
    ("client", "guardian", "launcher", "worker", "rank"),
)
ALL = VICTIMS[-1]
CLEAN_SECONDS = 10.0  # a bound for a loaded machine; what it took is reported
CLIENT_SECONDS = 60.0
FRESH_SECONDS = 60.0
MOST_FAILURES = 5


class Failure(Exception):
    """What a cycle ended with instead of a clean audit."""


@dataclass
class Child:
    """A process that we forked, and what it says."""

    pid: int
    fd: int
    heard: list[str] = field(default_factory=list)
    rest: str = ""
    status: int | None = None

    def listen(self, word: str, seconds: float) -> bool:
        """Waits until it has said ``word``; False if it ended or the time is over."""
        deadline = time.monotonic() + seconds
        while not any(line.split()[0] == word for line in self.heard):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                return False
            data = os.read(self.fd, 1 << 16)
            if not data:
                return False
            *lines, self.rest = (self.rest + data.decode()).split("\n")
            self.heard += [line for line in lines if line]
        return True

    def alive(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is None

    def wait(self, seconds: float) -> int:
        """Waits until it has ended; returns its status. Raises Failure if it does not end."""
        self.listen("never", seconds)
        audit.wait_for(lambda: not self.alive(), seconds)
        if self.status is None:
            raise Failure(f"it does not end; it said {self.heard[-3:]}")
        return self.status


def fork(body: Any) -> Child:
    read, write = os.pipe()
    pid = os.fork()
    if pid != 0:
        os.close(write)
        return Child(pid, read)
    code = 1
    try:
        os.close(read)
        body(lambda text: os.write(write, (text + "\n").encode()))
        code = 0
    except BaseException:
        os.write(write, ("raised " + traceback.format_exc().replace("\n", " | ") + "\n").encode())
    finally:
        os._exit(code)


def classify(lock_dir: str, client: int, hidden: set[int]) -> dict[str, list[int]]:
    """Returns the processes of a run by what they are."""
    kinds: dict[str, list[int]] = {kind: [] for kind in ("guardian", *ALL, "hidden")}
    kinds["client"] = [client] if audit.stat_of(client) else []
    parents = {}
    for pid in audit.pids_of(lock_dir):
        stat = audit.stat_of(pid)
        if stat is not None and stat[0] != "Z" and pid != client:
            parents[pid] = stat[1]
    for pid, parent in parents.items():
        if pid in hidden:
            kinds["hidden"].append(pid)
        elif audit.read(f"/proc/{pid}/comm").startswith(b"ionian-guardian"):
            kinds["guardian"].append(pid)
        elif parent in kinds["guardian"] or parents.get(parent) == client:
            kinds["launcher"].append(pid)
        elif parents.get(parents.get(parent, 0)) == client:
            kinds["worker"].append(pid)
        elif parent in parents:
            kinds["rank"].append(pid)
    return kinds


@dataclass
class Plan:
    """One cycle, as its seed and number say."""

    number: int
    phase: str
    fraction: float
    victims: tuple[str, ...]
    forks: bool

    @classmethod
    def of(cls, seed: int, number: int) -> Plan:
        rng = random.Random(f"{seed}:{number}")
        return cls(
            number, rng.choice(PHASES), rng.random(), rng.choice(VICTIMS), rng.random() < 0.5
        )


@dataclass
class Result:
    """What a cycle has measured, in seconds."""

    victims: str
    clean: float | None = None  # from the kill of the client to the clean audit
    error: float | None = None  # from the kill of a worker to the caller's exception
    fresh: float | None = None  # of a fresh client with all GPUs
    cycle: float = 0.0


class Lane:
    """A world in which one run after the other is killed."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.hidden = folder / "hidden"
        self.lock_dir = str(folder / "locks")
        folders = [folder / "tmp", folder / "runtime"]
        for each in (*folders, self.hidden):
            each.mkdir(parents=True)
        os.environ.update(
            IONIAN_LOCK_DIR=self.lock_dir, TMPDIR=str(folders[0]), XDG_RUNTIME_DIR=str(folders[1])
        )
        audit.become_subreaper()
        self.audit = audit.Audit(self.lock_dir, map(str, folders), count_children=True)
        #: How long each phase takes here and now.
        self.lengths = {"start": 0.4, "steady": 0.1, "transfer": 0.1, "end": 0.05}

    def cycle(self, plan: Plan) -> Result:
        began = time.monotonic()
        for file in self.hidden.iterdir():
            file.unlink()
        result = Result("+".join(plan.victims))
        client = fork(
            lambda say: kill_program.client(str(self.hidden), plan.forks, self.counted(say))
        )
        try:
            killed = self.kill(plan, client, result)
            ended_at = time.monotonic()
            if client.pid not in killed:
                self.check_survivor(client, result, ended_at)
            else:
                client.wait(CLIENT_SECONDS)
            if plan.victims != ALL:  # then the fresh client's guardian is the one that cleans up
                self.check_clean(ended_at, result if client.pid in killed else None)
            self.fresh_client(result)
            self.check_clean(ended_at, None)
        finally:
            os.close(client.fd)
        result.cycle = time.monotonic() - began
        return result

    def counted(self, say: Any) -> Any:
        """Wraps ``say`` so that the client also reports what it keeps when its run has ended."""
        before = audit.open_descriptors()

        def wrapped(text: str) -> None:
            say(text)
            if text == "ended":
                left = [f"child {audit.describe(pid)}" for pid in audit.children()]
                now = audit.open_descriptors()
                left += [f"descriptor {now[fd]}" for fd in now if fd not in before]
                if left:
                    raise Failure("the client keeps " + ", ".join(left))

        return wrapped

    def kill(self, plan: Plan, client: Child, result: Result) -> set[int]:
        began = time.monotonic()
        if not client.listen(plan.phase, CLIENT_SECONDS):
            raise Failure(
                f"the client did not get to its phase {plan.phase!r}: {client.heard[-3:]}"
            )
        if plan.phase == "end":
            self.lengths["start"] = (self.lengths["start"] + time.monotonic() - began) / 2
        time.sleep(plan.fraction * self.lengths[plan.phase])
        hidden = {int(file.name) for file in self.hidden.iterdir()}
        kinds = classify(self.lock_dir, client.pid, hidden)
        chosen: list[int] = []
        for kind in plan.victims:
            pick = int(plan.fraction * 1000) % max(1, len(kinds[kind]))
            chosen += kinds[kind] if plan.victims == ALL else kinds[kind][pick : pick + 1]
        if not chosen:  # not there yet, or no more
            chosen = kinds["client"]
            result.victims = "client"
        for pid in chosen:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return set(chosen)

    def check_survivor(self, client: Child, result: Result, killed_at: float) -> None:
        status = client.wait(CLIENT_SECONDS)
        if status != 0:
            raise Failure(f"the client ended with status {status}: {client.heard[-3:]}")
        errors = [line.split() for line in client.heard if line.startswith("error")]
        if errors and result.victims == "worker":
            result.error = max(0.0, float(errors[0][1]) - killed_at)

    def check_clean(self, since: float, result: Result | None) -> None:
        left = self.audit.wait(CLEAN_SECONDS)
        if left:
            raise Failure("these are left:\n  " + "\n  ".join(left))
        if result is not None:
            result.clean = time.monotonic() - since

    def fresh_client(self, result: Result) -> None:
        began = time.monotonic()

        def body(say: Any) -> None:
            with kill_program.app.run(simulate=kill_program.GPUS, show_output=False):
                say(f"got {kill_program.everything.remote()}")

        child = fork(body)
        try:
            got = child.listen("got", FRESH_SECONDS)
            result.fresh = time.monotonic() - began
            if not got or child.heard[-1] != "got 4":
                os.kill(child.pid, signal.SIGKILL)
                raise Failure(f"a fresh client did not get all GPUs; it said {child.heard}")
            child.wait(FRESH_SECONDS)
        finally:
            os.close(child.fd)

    def clear(self) -> None:
        """Ends what a failure has left, so that the next cycle starts clean."""
        for _ in range(200):
            left = {*audit.pids_of(self.lock_dir), *audit.children()}
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            audit.reap()
            if not left:
                return
            time.sleep(0.01)


def run_lane(number: int, arguments: argparse.Namespace, folder: pathlib.Path, say: Any) -> None:
    lane = Lane(folder / f"lane{number}")
    failures = 0
    resident = 0
    numbers = (
        [arguments.only]
        if arguments.only is not None
        else range(number, arguments.kills, arguments.lanes)
    )
    for count, each in enumerate(numbers):
        plan = Plan.of(arguments.seed, each)
        try:
            result = lane.cycle(plan)
        except Exception as exc:
            failures += 1
            text = str(exc) if isinstance(exc, Failure) else traceback.format_exc()
            lane.clear()
            say(
                "failed "
                + repr(
                    f"seed {arguments.seed}, number {each}: {'+'.join(plan.victims)} killed at "
                    f"{plan.fraction:.2f} of {plan.phase!r}: {text}\nrepeat: python {sys.argv[0]} "
                    f"--seed {arguments.seed} --only {each}"
                )
            )
            if failures == MOST_FAILURES:
                break
        else:
            say(f"did {result!r}")
        if count == 10:
            resident = audit.resident_bytes()
    if resident and audit.resident_bytes() - resident > 16 << 20:
        say(
            "failed "
            + repr(f"lane {number} has grown by {audit.resident_bytes() - resident} bytes")
        )
    say("all is done")


def report(results: list[Result], seconds: float) -> None:
    by_victim: dict[str, int] = {}
    for result in results:
        by_victim[result.victims] = by_victim.get(result.victims, 0) + 1
    print(", ".join(f"{count} x {name}" for name, count in sorted(by_victim.items())))
    rows = {
        "clean after the client's death": [r.clean for r in results if r.clean is not None],
        "error after a worker's death": [r.error for r in results if r.error is not None],
        "a fresh client has all GPUs": [r.fresh for r in results if r.fresh is not None],
    }
    for name, values in rows.items():
        if len(values) > 1:
            cuts = statistics.quantiles(values, n=100, method="inclusive")
            print(
                f"{name}: p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms ({len(values)})"
            )
    if results:
        print(f"{len(results)} kills in {seconds:.1f} s: {seconds / len(results):.3f} s each")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--lanes", type=int, default=max(2, len(os.sched_getaffinity(0))))
    parser.add_argument("--only", type=int, default=None)
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(1 << 31)
    if arguments.only is not None:
        arguments.lanes = 1
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ionian-kills-"))
    began = time.monotonic()
    results: list[Result] = []
    failures: list[str] = []
    try:
        lanes = [
            fork(lambda say, number=number: run_lane(number, arguments, folder, say))
            for number in range(arguments.lanes)
        ]
        while any(not lane.listen("all", 0.1) and lane.alive() for lane in lanes):
            pass
        for lane in lanes:
            if lane.wait(1) != 0:
                failures.append(f"a lane ended with status {lane.status}: {lane.heard[-1:]}")
            for line in lane.heard:
                kind, _, text = line.partition(" ")
                if kind == "did":
                    results.append(eval(text, {"Result": Result}))
                elif kind == "failed":
                    failures.append(eval(text))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"seed {arguments.seed}")
    report(results, time.monotonic() - began)
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
