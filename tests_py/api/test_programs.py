"""Programs as people start them: scripts, modules, ``-c``, a pipe, a notebook's kind of ``__main__``."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

# One program for all of them: objects of its main module go there and back, and a nested run finds them.
BODY = """
import sys
import ionian
{imports}
app = ionian.App("program")

class Box:
    def __init__(self, x):
        self.x = x

offset = 10

def add(x):
    return x + offset

@app.function()
def f(box):
    return Box(add(box.x))

@app.function()
def nested(x):
    return f.remote(Box(x)).x

if __name__ == "__main__":
    with app.run():
        box = f.remote(Box(1))
        assert type(box) is Box, type(box)
        print(box.x, nested.remote(2), sorted(b.x for b in f.map([Box(3), Box(4)])), sys.argv[1:])
"""


def body(imports: str = "") -> str:
    return BODY.replace("{imports}", imports)


def run(
    world: pathlib.Path,
    files: dict[str, str],
    argv: list[str],
    *,
    stdin: str | None = None,
    env: dict[bytes, bytes] | None = None,
) -> str:
    """Writes the files, runs Python with ``argv`` beside them, and returns what it printed."""
    for name, text in files.items():
        path = world / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    ended = subprocess.run(
        [sys.executable, *argv],
        cwd=world,
        input=stdin,
        env=dict(os.environb) | (env or {}),
        capture_output=True,
        text=True,
        errors="backslashreplace",
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    return ended.stdout


PROGRAMS = {
    "script": ({"s.py": body()}, ["s.py", "a", "-b"]),
    "script elsewhere, with a module beside it": (
        {"sub/s.py": body("import beside"), "sub/beside.py": ""},
        ["sub/s.py", "a", "-b"],
    ),
    "script with an odd name": ({"my script-1 ü": body()}, ["my script-1 ü", "a", "-b"]),
    "-m of a module": (
        {"pkg/__init__.py": "", "pkg/mod.py": body("import pkg.other"), "pkg/other.py": ""},
        ["-m", "pkg.mod", "a", "-b"],
    ),
    "-m of a module with relative imports": (
        {"pkg/__init__.py": "", "pkg/mod.py": body("from . import other"), "pkg/other.py": ""},
        ["-m", "pkg.mod", "a", "-b"],
    ),
    "-m of a package": (
        {
            "pkg/__init__.py": "",
            "pkg/__main__.py": body("from .other import K"),
            "pkg/other.py": "K = 1",
        },
        ["-m", "pkg", "a", "-b"],
    ),
    "directory": ({"d/__main__.py": body("import other"), "d/other.py": ""}, ["d", "a", "-b"]),
    "-c": ({}, ["-c", body(), "a", "-b"]),
    "-P -O": ({"s.py": body()}, ["-P", "-O", "s.py", "a", "-b"]),
}
if sys.version_info < (3, 11):
    PROGRAMS["-P -O"] = ({"s.py": body()}, ["-O", "s.py", "a", "-b"])


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_however_it_is_started(world, name):
    files, argv = PROGRAMS[name]
    assert run(world, files, argv) == "11 12 [13, 14] ['a', '-b']\n"


def test_a_program_from_a_pipe_runs(world):
    assert run(world, {}, ["-"], stdin=body()) == "11 12 [13, 14] []\n"


def test_a_main_module_without_a_file_runs(world):
    """As a notebook has it."""
    driver = """
import sys, types
main = types.ModuleType("__main__")
sys.modules["__main__"] = main
exec(compile(open("cell.txt").read(), "<cell 1>", "exec"), main.__dict__)
"""
    assert (
        run(world, {"driver.py": driver, "cell.txt": body()}, ["driver.py"])
        == "11 12 [13, 14] []\n"
    )


def test_the_script_is_imported_once_and_its_main_block_runs_once(world):
    printed = run(
        world,
        {"s.py": "print('imported as', __name__)\n" + body() + "    print('main block')"},
        ["s.py"],
    )
    lines = printed.splitlines()
    assert lines.count("main block") == 1
    names = [line for line in lines if "imported as" in line]
    assert names[0] == "imported as __main__"
    # Once here, once in the launcher, once in that of the nested run: workers are forked from it.
    assert len(names) == 3 and not any("imported as __main__" in name for name in names[1:])


def test_a_script_needs_no_guard_around_its_run(world):
    script = """
import ionian
app = ionian.App("plain")

@app.function()
def f(x):
    return x + 1

print("before")
with app.run():
    print(f.remote(1))
print("after")
"""
    assert run(world, {"s.py": script}, ["s.py"]).splitlines() in (
        ["before", "before", "2", "after"],
        ["before", "2", "after"],
    )


def test_an_async_script_needs_no_guard_either(world):
    script = """
import asyncio, ionian
app = ionian.App("plain")

@app.function()
def f(x):
    return x + 1

async def main():
    async with app.run():
        print(await f.remote.aio(1))

asyncio.run(main())
"""
    assert run(world, {"s.py": script}, ["s.py"]) == "2\n"


LIBRARY = """
import ionian
app = ionian.App("library")

@app.function()
def echo(x):
    return x
"""


def test_functions_of_a_module_are_run_by_a_driver_script(world):
    driver = "import library\nwith library.app.run():\n    print(library.echo.remote(1))\n"
    assert run(world, {"library.py": LIBRARY, "s.py": driver}, ["s.py"]) == "1\n"


def test_objects_of_the_script_go_to_functions_of_another_module(world):
    driver = """
import library

class Box:
    pass

if __name__ == "__main__":
    with library.app.run():
        print(type(library.echo.remote(Box())) is Box)
"""
    assert run(world, {"library.py": LIBRARY, "s.py": driver}, ["s.py"]) == "True\n"


def test_exceptions_of_the_script_are_caught_by_their_class(world):
    script = """
import ionian
app = ionian.App("exceptions")

class Mine(Exception):
    pass

@app.function()
def f():
    raise Mine("a", 2)

if __name__ == "__main__":
    with app.run():
        try:
            f.remote()
        except Mine as exc:
            print(exc.args)
"""
    assert run(world, {"s.py": script}, ["s.py"]) == "('a', 2)\n"


MULTIPROCESSING = """
import multiprocessing
import ionian
app = ionian.App("pools")

def square(x):
    return x * x

@app.function()
def squares(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map_async(square, range(4)).get(5)

if __name__ == "__main__":
    with app.run():
        print(squares.remote("METHOD"))
"""


@pytest.mark.parametrize(
    "method",
    ["fork", "spawn"],
)
def test_a_function_of_a_script_can_use_multiprocessing(world, method):
    script = MULTIPROCESSING.replace("METHOD", method)
    assert run(world, {"s.py": script}, ["s.py"]) == "[0, 1, 4, 9]\n"


ENVIRONMENTS = {
    "plain C locale": {b"LC_ALL": b"C", b"PYTHONUTF8": b"0", b"PYTHONCOERCECLOCALE": b"0"},
    "no home": {b"HOME": b"/nonexistent"},
    "empty variables": {b"CUDA_VISIBLE_DEVICES": b"", b"EMPTY": b""},
    "bytes that are not UTF-8": {b"LATIN": b"\xff\xfe"},
    "warnings are errors": {b"PYTHONWARNINGS": b"error"},
    "preloaded nothing": {b"LD_PRELOAD": b""},
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_program_runs_in_an_odd_environment(world, name):
    assert run(world, {"s.py": body()}, ["s.py"], env=ENVIRONMENTS[name]) == "11 12 [13, 14] []\n"


def test_code_that_starts_threads_when_imported_runs_in_fresh_processes(world):
    script = """
import threading, time
import ionian
app = ionian.App("threads")
threading.Thread(target=time.sleep, args=(1000,), daemon=True, name="mine").start()

@app.function()
def f(x):
    return x + 1

if __name__ == "__main__":
    with app.run():
        print(f.remote(1))
"""
    (world / "s.py").write_text(script)
    ended = subprocess.run(
        [sys.executable, "s.py"], cwd=world, capture_output=True, text=True, timeout=60
    )
    assert ended.stdout == "2\n"
    assert "fresh processes" in ended.stderr and "s.py started threads" in ended.stderr
    assert "(mine)" in ended.stderr


def test_a_launcher_that_cannot_fork_now_forks_later(world):
    program = """
import os
import ionian
from ionian import exception

app = ionian.App("forks")
fork = os.fork
left = [int(os.environ["FAILURES"])]

def fails_at_first():
    if left[0] > 0:
        left[0] -= 1
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return fork()

@app.function()
def f():
    return "ran"

if __name__ == "__main__":
    with app.run():
        try:
            print(f.remote())
        except exception.CrashLoopError as error:
            print(error)
        print(f.remote())
else:
    os.fork = fails_at_first
"""
    twice = run(world, {"forks.py": program}, ["forks.py"], env={b"FAILURES": b"2"})
    assert twice.splitlines() == ["ran", "ran"]
    thrice = run(world, {"forks.py": program}, ["forks.py"], env={b"FAILURES": b"3"})
    assert "fork: Resource temporarily unavailable" in thrice
    assert thrice.splitlines()[-1] == "ran"


IMPORT_FAILURES = {
    "raise ImportError('only here')": "only here",
    "import no_such_module": "no_such_module",
    "import sys; sys.exit(3)": "SystemExit: 3",
    "import os; os._exit(3)": "ended before it was told to",
}


@pytest.mark.parametrize("statement", IMPORT_FAILURES)
def test_code_that_cannot_be_imported_there_says_why(world, statement):
    script = f"""
import ionian
app = ionian.App("broken")

@app.function()
def f():
    pass

if not ionian.is_local():
    {statement}

if __name__ == "__main__":
    with app.run():
        for _ in range(2):
            try:
                f.remote()
            except ionian.exception.WorkerStartError as exc:
                print({IMPORT_FAILURES[statement]!r} in str(exc), len(str(exc).splitlines()[0]) < 200)
"""
    assert run(world, {"s.py": script}, ["s.py"]) == "True True\nTrue True\n"


def test_a_function_that_only_the_main_block_defines_says_where_to_define_it(world):
    script = """
import ionian
app = ionian.App("late")

if __name__ == "__main__":
    @app.function()
    def f():
        return 1
    with app.run():
        try:
            print(f.remote())
        except ionian.exception.WorkerStartError as exc:
            print("top of the module" in str(exc))
"""
    assert run(world, {"s.py": script}, ["s.py"]) in ("True\n", "1\n")


ENDINGS = {
    "without closing": "app.run().__enter__(); print(f.remote(1))",
    "by sys.exit in the run": "with app.run(): print(f.remote(1)); sys.exit(0)",
    "with a call under way": "with app.run(): print(f.remote(1)); sleep.spawn()",
    "with a map half read": "with app.run(): print(next(iter(f.map(itertools.count(1)))))",
    "with a thread in a call": (
        "with app.run(): print(f.remote(1)); threading.Thread(target=sleep.remote, daemon=True).start()"
    ),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_a_program_ends_at_once_and_whole(world, how):
    script = f"""
import itertools, sys, threading, time
import ionian
app = ionian.App("endings")

@app.function()
def f(x):
    return x

@app.function()
def sleep():
    time.sleep(1000)

if __name__ == "__main__":
    {ENDINGS[how]}
"""
    assert run(world, {"s.py": script}, ["s.py"]) == "1\n"
