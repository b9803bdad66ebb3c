"""``ionian run`` as people type it."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

SCRIPT = '''
import datetime
from typing import Literal, Optional
import ionian

app = ionian.App("cli")

@app.function()
def double(x: int) -> int:
    """Doubles."""
    print("doubling", x)
    return 2 * x

@app.function(gpu="A10G")
def on_gpu() -> str:
    return "ran"

@app.function()
def broken() -> None:
    raise ValueError("bad input")

@app.function()
def dies() -> None:
    import os
    os._exit(4)

@app.function()
def waits() -> None:
    import time
    print("waiting", flush=True)
    time.sleep(1000)

@app.local_entrypoint()
def main(rounds: int = 2, name: str = "x", fast: bool = False, when: Optional[datetime.datetime] = None,
         mode: Literal["a", "b"] = "a", rate: float | None = None, word="w"):
    """The way in."""
    print(list(double.map(range(rounds))), name, fast, when and when.year, mode, rate, word)

@app.local_entrypoint()
def other(path: str):
    print("other", path)
'''


@pytest.fixture
def script(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "program.py"
    path.write_text(SCRIPT.replace("@app.local_entrypoint()\ndef other", "def unused"))
    return path


def ionian(*arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ionian", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        **more,  # type: ignore[call-overload]
    )


CASES = {
    "the only entry point": (["{}"], 0, "[0, 2] x False None a None w"),
    "its options": (
        ["{}", "--rounds", "3", "--name=y", "--fast"],
        0,
        "[0, 2, 4] y True None a None w",
    ),
    "more types": (
        ["{}", "--when", "2026-01-02", "--mode", "b", "--rate", "0.5"],
        0,
        "False 2026 b 0.5 w",
    ),
    "a function": (["{}::double", "--x", "4"], 0, "8"),
    "an app's function": (["{}::app.double", "--x", "4"], 0, "8"),
    "a function on a simulated GPU": (["--simulate", "A10G:1", "{}::on_gpu"], 0, "ran"),
    "pretending": (["--simulate", "L4:1", "--gpu-match", "pretend", "{}::on_gpu"], 0, "ran"),
    "no such GPU": (["--simulate", "L4:1", "{}::on_gpu"], 1, "exists: 1 x L4"),
    "a bad simulation": (["--simulate", "L4;1", "{}::on_gpu"], 1, "simulated GPUs"),
    "help of the entry point": (["{}", "--help"], 0, "--rounds INTEGER"),
    "help of a function": (["{}::double", "--help"], 0, "Doubles."),
    "a missing option": (["{}::double"], 2, "Missing option '--x'"),
    "a bad value": (["{}", "--rounds", "many"], 2, "'many' is not a valid integer"),
    "an unknown option": (["{}", "--wounds", "1"], 2, "--rounds"),
    "one colon": (["{}:double"], 2, "did you mean"),
    "no such function": (["{}::triple"], 2, "::double"),
    "no such file": (["nowhere.py"], 2, "no file 'nowhere.py'"),
    "a module without -m": (["os.path"], 2, "-m os.path"),
    "no such module": (["-m", "no.such::f"], 2, "no module 'no.such'"),
    "a function that raises": (["{}::broken"], 1, "ValueError: bad input"),
    "a function that dies": (["{}::dies"], 1, "exit code 4"),
}


@pytest.mark.parametrize(("arguments", "code", "text"), CASES.values(), ids=CASES)
def test_run(script: pathlib.Path, arguments: list[str], code: int, text: str) -> None:
    ended = ionian("run", *[argument.format(script) for argument in arguments])
    assert text in ended.stdout + ended.stderr
    assert ended.returncode == code
    assert text in (ended.stdout if code == 0 else ended.stderr)


def test_a_users_traceback_has_none_of_our_frames(script: pathlib.Path) -> None:
    ended = ionian("run", f"{script}::broken")
    assert "in broken" in ended.stderr
    assert os.sep + "ionian" + os.sep not in ended.stderr


def test_output_of_workers_appears_and_quiet_hides_it(script: pathlib.Path) -> None:
    assert "doubling 4" in ionian("run", f"{script}::double", "--x", 4).stdout
    assert "doubling" not in ionian("run", "-q", f"{script}::double", "--x", 4).stdout


def test_several_entry_points_are_listed(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "two.py"
    path.write_text(SCRIPT)
    ended = ionian("run", path)
    assert ended.returncode == 2
    assert f"ionian run {path}::main" in ended.stderr and f"{path}::other" in ended.stderr
    assert ionian("run", f"{path}::other", "--path", "p").stdout == "other p\n"


def test_a_module_runs_with_m(tmp_path: pathlib.Path, script: pathlib.Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    script.rename(tmp_path / "pkg" / "mod.py")
    ended = ionian("run", "-m", "pkg.mod::double", "--x", 3, cwd=tmp_path)
    assert ended.stdout.splitlines()[-1] == "6", ended.stderr


def test_a_script_for_the_service_runs_with_another_import(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "cloud.py"
    path.write_text(
        SCRIPT.replace("import ionian", "import ionian as modal").replace("ionian.App", "modal.App")
    )
    assert ionian("run", f"{path}::double", "--x", 1).stdout.endswith("2\n")


def test_classes_of_the_script_keep_their_identity(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "shapes.py"
    path.write_text(
        textwrap.dedent("""
            import ionian
            app = ionian.App("shapes")
            class Square:
                def __init__(self, side): self.side = side
            @app.function()
            def grow(square: Square):
                assert isinstance(square, Square)
                return Square(square.side + 1)
            @app.local_entrypoint()
            def main():
                print(isinstance(grow.remote(Square(1)), Square))
            if __name__ == "__main__":
                print("must not run")
        """)
    )
    assert ionian("run", path).stdout == "True\n"


def test_an_async_entry_point_runs(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "later.py"
    path.write_text(
        textwrap.dedent("""
            import ionian
            app = ionian.App("later")
            @app.function()
            def f(x): return x
            @app.local_entrypoint()
            async def main():
                print([x async for x in f.map.aio(range(3))])
        """)
    )
    assert ionian("run", path).stdout == "[0, 1, 2]\n"


def test_the_result_can_be_written_to_a_file(tmp_path: pathlib.Path, script: pathlib.Path) -> None:
    ionian("run", "--simulate", "A10G:1", "-w", tmp_path / "out", f"{script}::on_gpu")
    assert (tmp_path / "out").read_text() == "ran"
    refused = ionian("run", "-w", tmp_path / "out", f"{script}::double", "--x", 1)
    assert refused.returncode == 1 and "text or bytes" in refused.stderr


def test_a_type_that_the_command_line_cannot_read_is_named(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "odd.py"
    path.write_text(
        "import ionian\napp = ionian.App('odd')\n@app.local_entrypoint()\ndef main(x: list): pass\n"
    )
    ended = ionian("run", path)
    assert ended.returncode == 2 and "'x'" in ended.stderr and "list" in ended.stderr


def test_ctrl_c_ends_it_with_130(script: pathlib.Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ionian", "run", f"{script}::waits"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in err and "Traceback" not in err
    assert time.monotonic() - begin < 20
