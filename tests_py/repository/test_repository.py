"""The house: arrows one way, files of bounded length, and a README that is true."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
ROOMS = {
    "base": set(),
    "gpu": {"base"},
    "lease": {"gpu", "base"},
    "exec": {"lease", "gpu", "base"},
    "cuda": {"base"},
    "blas": {"cuda", "base"},
    "comm": {"cuda", "base"},
}
#: Which room a public header belongs to.
PUBLIC = {
    "error": "base",
    "fd": "base",
    "log": "base",
    "catalog": "gpu",
    "device": "gpu",
    "gpu_request": "gpu",
    "inventory": "gpu",
    "topology": "gpu",
    "lease": "lease",
    "array": "cuda",
    "communicator": "comm",
    "matmul": "blas",
}


def tracked(pattern: str) -> list[pathlib.Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", pattern],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def room_of(include: str) -> str | None:
    head, _, rest = include.partition("/")
    if head == "ionian":
        return PUBLIC[rest.removesuffix(".hpp")]
    return head if head in ROOMS else None


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_includes_only_rooms_below_it(room: str) -> None:
    for path in (ROOT / "cpp" / "src" / room).glob("*.[ch]pp"):
        for include in re.findall(r'#include "([^"]+)"', path.read_text()):
            other = room_of(include)
            assert other in ROOMS[room] | {room}, f"{path.name} includes {include}"


def test_every_public_header_has_a_room() -> None:
    headers = {path.stem for path in (ROOT / "cpp" / "include" / "ionian").glob("*.hpp")}
    assert headers == set(PUBLIC) | {"ionian"}


@pytest.mark.parametrize("pattern", ["*.cpp", "*.hpp", "*.py", "*.pyi"])
def test_no_file_is_longer_than_500_lines(pattern: str) -> None:
    long = {
        str(path): n for path in tracked(pattern) if (n := len(path.read_text().splitlines())) > 500
    }
    assert not long


def test_the_core_links_nothing_but_the_standard_library() -> None:
    from ionian import _core

    needed = subprocess.run(["readelf", "-d", _core.__file__], capture_output=True, text=True)
    if needed.returncode != 0:
        pytest.skip("no readelf here")
    libraries = re.findall(r"\(NEEDED\).*\[(.*)\]", needed.stdout)
    allowed = (
        "libstdc++",
        "libgcc_s",
        "libc.",
        "libm.",
        "ld-linux",
        "libpthread",
        "libdl",
        "libasan",
        "libubsan",
    )
    assert all(library.startswith(allowed) for library in libraries), libraries


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    return [text for name, text in found if name == language]


@pytest.mark.parametrize("example", [0, 1])
def test_the_readmes_examples_print_what_the_readme_says(
    tmp_path: pathlib.Path, example: int
) -> None:
    assert len(blocks("python")) == 2
    command, expected = [block for block in blocks("") if block.startswith("$ ")][example].split(
        "\n", 1
    )
    words = command.removeprefix("$ ionian ").split()
    script = next(word for word in words if word.endswith(".py"))
    (tmp_path / script).write_text(blocks("python")[example])
    ended = subprocess.run(
        [sys.executable, "-m", "ionian", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout == expected, ended.stderr


def test_the_readmes_two_commands_are_targets_of_make() -> None:
    commands = next(block for block in blocks("") if block.startswith("make demo"))
    targets = [line.split()[1] for line in commands.splitlines()]
    assert targets == ["demo", "test"]
    for target in targets:
        listed = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert listed.returncode == 0, listed.stderr


def test_the_readmes_command_lines_exist() -> None:
    shown = next(block for block in blocks("") if block.startswith("ionian run script.py "))
    for line in shown.splitlines():
        name = line.split()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "ionian", name, "--help"], capture_output=True, text=True
        )
        assert ended.returncode == 0


def test_the_readmes_requests_are_parsed() -> None:
    from ionian import gpu

    table = (
        (ROOT / "README.md").read_text().partition("| asked | granted |")[2].partition("\n\n")[0]
    )
    requests = re.findall(r'`"([^`]*)"`', table)
    assert len(requests) > 8
    for text in requests:
        assert str(gpu.parse_gpu(text)) == text or text == "A10"


def test_links_of_the_documents_lead_somewhere() -> None:
    for document in tracked("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_nothing_speaks_of_where_it_was_made() -> None:
    for path in [
        *tracked("*.md"),
        *tracked("*.py"),
        *tracked("*.cpp"),
        *tracked("*.hpp"),
        *tracked("*.toml"),
    ]:
        if path == pathlib.Path(__file__):
            continue
        text = path.read_text()
        for word in ("TODO", "FIXME", *(f"/{folder}/" for folder in ("work", "root"))):
            assert word not in text, f"{path}: {word}"
