from __future__ import annotations

import io
import subprocess
import sys

import pytest

from heedful.engines.progress import PlainLine, duration, per_time, track


class Clock:
    """Seconds that pass only when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_every_ten_seconds_with_rate_and_remaining_time() -> None:
    stream, clock = io.StringIO(), Clock()
    with PlainLine("align", 50, stream=stream, clock=clock) as line:
        for i in range(50):
            clock.now += 2
            line.advance(note=f"score {i}")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "align: 5 of 50, 30.0/min, 1 min 30 s left, score 4"
    assert lines[-1] == "align: 50 of 50, 30.0/min, took 1 min 40 s, score 49"
    assert len(lines) == 100 / 10 + 1


def test_a_short_loop_says_nothing() -> None:
    stream, clock = io.StringIO(), Clock()
    with PlainLine("short", None, stream=stream, clock=clock) as line:
        clock.now += 1
        line.advance()
    assert stream.getvalue() == ""


def test_a_broken_loop_does_not_say_that_it_ended() -> None:
    stream, clock = io.StringIO(), Clock()
    with pytest.raises(ValueError, match="x"), PlainLine("broken", 3, stream=stream, clock=clock):
        clock.now += 5
        raise ValueError("x")
    assert stream.getvalue() == ""


def test_track_gives_what_it_was_given() -> None:
    assert list(track([1, 2, 3], "numbers")) == [1, 2, 3]
    assert list(track(iter("ab"), "letters", total=2)) == ["a", "b"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (42.4, "42 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s"), (7440, "2 h 04 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_rates() -> None:
    assert (per_time(3.21), per_time(0.2)) == ("3.2/s", "12.0/min")


def test_no_torch() -> None:
    code = "import sys, heedful.engines.progress; assert 'torch' not in sys.modules and 'rich' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


TERMINAL = """
import pty, os, sys
pid, master = pty.fork()
if pid == 0:
    from heedful.engines.progress import say, track
    for i in track(range(3), "outer"):
        for j in track(range(2), "inner"):
            pass
        say(f"row {i}")
    os._exit(0)
out = b""
try:
    while chunk := os.read(master, 4096):
        out += chunk
except OSError:
    pass
os.waitpid(pid, 0)
sys.stdout.buffer.write(out)
"""


@pytest.mark.parametrize("no_color", [False, True])
def test_on_a_terminal_loops_stand_below_each_other_and_lines_above_them(no_color: bool) -> None:
    import os

    env = {**os.environ, "TERM": "xterm-256color", **({"NO_COLOR": "1"} if no_color else {})}
    out = subprocess.run([sys.executable, "-c", TERMINAL], capture_output=True, env=env, timeout=60).stdout.decode()
    assert all(f"row {i}" in out for i in range(3))
    assert "outer" in out
    coloured = "\x1b[3" in out or "\x1b[38" in out
    assert coloured != no_color
