"""What workers print, as it appears in the program that started them."""

from __future__ import annotations

import os
import subprocess
import sys

import bodies as b
import functions as f
import pytest

from ionian.runner import Output


class Collected(Output):
    def __init__(self):
        self.lines = []
        self.notices = []

    def line(self, stream, label, text):
        self.lines.append((stream, label, text))

    def notice(self, text):
        self.notices.append(text)


def printed(data: bytes, fd: int = 1) -> list[str]:
    output = Collected()
    with b.app.run(output=output):
        b.write.remote(data, fd)
    stream = "stdout" if fd == 1 else "stderr"
    assert all(line[0] == stream for line in output.lines)
    return [text for _, _, text in output.lines]


LINES = {
    "one": (b"text\n", ["text"]),
    "no newline at the end": (b"text", ["text"]),
    "several": (b"a\n\nb\n", ["a", "", "b"]),
    "not UTF-8": (b"a\xffb\n", ["a�b"]),
    "characters of several bytes": ("grün\n".encode(), ["grün"]),
    "a progress bar": (b"10%\r20%\r30%\n", None),
    "nul": (b"a\0b\n", ["a\0b"]),
    "nothing": (b"", []),
}


@pytest.mark.parametrize("fd", [1, 2])
@pytest.mark.parametrize("name", LINES)
def test_lines_appear_whole_on_their_stream(name, fd):
    data, expected = LINES[name]
    found = printed(data, fd)
    if expected is None:
        assert "30%" in "".join(found)
    else:
        assert found == expected


def test_a_long_line_and_much_output_arrive_or_say_what_is_missing():
    output = Collected()
    data = b"".join(b"%d %s\n" % (i, b"x" * 80) for i in range(20_000))
    with b.app.run(output=output):
        b.write.remote(data)
        b.write.remote(b"y" * 3_000_000 + b"\n")
    numbers = [int(text.split()[0]) for _, _, text in output.lines if text[:1].isdigit()]
    if not output.notices:
        assert numbers == list(range(20_000))
    assert sum(text.count("y") for _, _, text in output.lines) > 60_000 or output.notices


def test_lines_are_labelled_only_while_several_workers_run(world):
    output = Collected()
    with f.app.run(output=output):
        f.say.remote("alone")
        b.wait_until(lambda: output.lines)
    assert output.lines == [("stdout", "", "alone")]
    output = Collected()
    with b.app.run(output=output):
        one, two = str(world / "1"), str(world / "2")
        calls = [
            b.say_when_both_run.spawn(one, two, "first"),
            b.say_when_both_run.spawn(two, one, "second"),
        ]
        for call in calls:
            call.get(timeout=20)
        b.wait_until(lambda: len(output.lines) == 2)
    labels = {text: label for _, label, text in output.lines}
    assert sorted(labels.values()) == ["say_when_both_run 1", "say_when_both_run 2"]


def test_output_of_a_worker_that_dies_is_shown():
    output = Collected()
    with f.app.run(output=output):
        with pytest.raises(Exception, match="a last word"):
            f.die.remote("sys.exit text")
    assert ("stderr", "", "a last word") in output.lines


PRINTS = """
import sys
import ionian
app = ionian.App("prints")

@app.function()
def f():
    print("gr\\u00fcn")
    print("warned", file=sys.stderr)

if __name__ == "__main__":
    with app.run():
        f.remote()
    print("end")
"""


def run(world, *, stdout=subprocess.PIPE, env=None):
    (world / "s.py").write_text(PRINTS)
    return subprocess.run(
        [sys.executable, "s.py"],
        cwd=world,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=os.environ | (env or {}),
        timeout=60,
    )


def test_output_goes_to_the_stream_that_the_worker_wrote_to(world):
    ended = run(world, env={"PYTHONIOENCODING": "utf-8"})
    assert ended.stdout.decode() == "grün\nend\n"
    assert ended.stderr.decode() == "warned\n"


def test_a_stream_that_cannot_show_a_character_shows_the_rest(world):
    ended = run(world, env={"PYTHONIOENCODING": "ascii"})
    assert ended.stdout.startswith(b"gr") and ended.stdout.endswith(b"n\nend\n")


def test_a_closed_pipe_does_not_stop_the_run(world):
    read, write = os.pipe()
    os.close(read)
    ended = run(world, stdout=write)
    os.close(write)
    assert b"warned" in ended.stderr
