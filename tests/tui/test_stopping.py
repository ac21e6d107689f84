"""The screens in a real terminal, stopped and continued, and left beside agents that do not end."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Optional, Union

import pytest

from tests.support import stubborn
from tests.tui.streams import Stream, write
from tests.tui.terminal import ENTERED, LEFT, ROOT, Terminal, running

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
#: Two seconds to end in, and one more for a busy machine.
SOON_S = 2.0 + 1.0


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("recording") / "a.vmlat.gz", Stream().whole(3))


def screens(recording: Path) -> list[str]:
    return ["-m", "vmlat_tui", "--replay", str(recording), "--speed", "0"]


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def stops(terminal: Terminal) -> bool:
    deadline = time.monotonic() + 5
    while state(terminal.child.pid) != "T" and time.monotonic() < deadline:
        terminal.read_once(0.05)
    return state(terminal.child.pid) == "T"


@pytest.mark.parametrize("number", ENDS)
def test_a_signal_restores_the_terminal(recording: Path, number: signal.Signals) -> None:
    with running(screens(recording)) as terminal:
        assert terminal.until(b"web-1")
        terminal.child.send_signal(number)
        assert terminal.ended() == 128 + number and terminal.restored
        assert b"\x1b[?1003l" in terminal.output and b"Traceback" not in terminal.output


@pytest.mark.parametrize("stop", [signal.SIGSTOP, signal.SIGTSTP, None])
def test_continued_it_has_the_terminal_as_before_and_the_keys(
    recording: Path, stop: Optional[signal.Signals]
) -> None:
    with running(screens(recording)) as terminal:
        assert terminal.until(b"web-1")
        terminal.read(0.5)
        raw, busy = terminal.mode, threads(terminal.child.pid)
        if stop is not None:
            terminal.child.send_signal(stop)
            assert stops(terminal)
            terminal.read(0.2)
            assert terminal.restored == (stop is signal.SIGTSTP)
            terminal.cook()  # as a shell does
        terminal.output = b""
        terminal.child.send_signal(signal.SIGCONT)
        assert terminal.until(ENTERED) and terminal.until(b"\x1b[?1003h")
        assert terminal.until(b"web-1"), "all of it is drawn anew"
        terminal.read(0.5)
        assert terminal.mode == raw and threads(terminal.child.pid) == busy
        terminal.type(b"?")
        assert terminal.until(b"keys")
        terminal.type(b"q")
        assert terminal.ended() == 0 and terminal.restored


def test_under_a_shell_it_is_a_job_like_any_other(recording: Path) -> None:
    """Stopped, put into the background, where it stays stopped, and back to the front."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.environ.update(PS1="ready> ", TERM="xterm-256color")
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    seen = b""

    def until(what: bytes, seconds: float = 15.0) -> bytes:
        nonlocal seen
        deadline = time.monotonic() + seconds
        while what not in seen and time.monotonic() < deadline:
            if select.select([master], [], [], 0.1)[0]:
                seen += os.read(master, 65536)
        assert what in seen, seen[-500:]
        before, seen = seen, b""
        return before

    try:
        until(b"ready> ")
        os.write(master, b" ".join(map(os.fsencode, [sys.executable, *screens(recording)])) + b"\n")
        until(b"web-1")
        child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        os.kill(child, signal.SIGTSTP)
        assert LEFT in until(b"ready> ")
        os.write(master, b"bg\n")
        until(b"ready> ")
        os.write(master, b"sleep 1; jobs; echo so it is\n")
        assert b"Stopped" in until(b"\nso it is")
        os.write(master, b"fg\n")
        until(b"web-1")
        os.write(master, b"q")
        until(b"ready> ")
        assert termios.tcgetattr(master)[3] & termios.ISIG
        os.write(master, b"echo status $?\n")
        until(b"\rstatus 0")
    finally:
        os.close(master)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_it_ends_with_its_terminal(tmp_path: Path) -> None:
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.environ.update(TERM="xterm-256color", PYTHONPATH=str(ROOT))
        os.execv(
            sys.executable, [sys.executable, *stubborn.program("goes on", tmp_path, "screens")]
        )
    seen = b""
    while b"web-1" not in seen and select.select([master], [], [], 15)[0]:
        seen += os.read(master, 65536)
    os.write(master, b"\r")
    while not (tmp_path / "stuck").exists() and select.select([master], [], [], 15)[0]:
        os.read(master, 65536)
    os.close(master)
    deadline = time.monotonic() + SOON_S
    ended = 0
    while not ended and time.monotonic() < deadline:
        ended, _ = os.waitpid(pid, os.WNOHANG)
        time.sleep(0.02)
    if not ended:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    left = stubborn.left(tmp_path)
    stubborn.end(tmp_path)
    assert ended and not left


# ---- beside agents that do not end ---------------------------------------------------------------


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Callable[[str], Terminal]]:
    made: list[Terminal] = []

    def make(how: str) -> Terminal:
        made.append(Terminal(stubborn.program(how, tmp_path, "screens"), PYTHONPATH=str(ROOT)))
        if how != "silent":
            assert made[0].until(b"web-1")
            made[0].type(b"\r")
        deadline = time.monotonic() + 20
        while not (tmp_path / "stuck").exists() and time.monotonic() < deadline:
            made[0].read_once(0.05)
        assert made[0].until(ENTERED)
        made[0].read(0.5)
        return made[0]

    yield make
    stubborn.end(tmp_path)
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("how", "end"),
    [("silent", "q"), ("frozen", "q"), ("goes on", "q"), ("floods", "q"),
     ("frozen", signal.SIGTERM), ("floods", signal.SIGHUP)],
)  # fmt: skip
def test_the_screens_are_gone_at_once_and_the_agent_soon(
    beside: Callable[[str], Terminal], tmp_path: Path, how: str, end: Union[str, signal.Signals]
) -> None:
    terminal = beside(how)
    begin = time.monotonic()
    if isinstance(end, str):
        terminal.type(end.encode())
    else:
        terminal.child.send_signal(end)
    assert terminal.until(LEFT, 1.0), "the terminal does not wait for the agent"
    status = terminal.ended(SOON_S)
    assert time.monotonic() - begin < SOON_S
    assert status == (0 if isinstance(end, str) else 128 + end) and terminal.restored
    assert not stubborn.left(tmp_path)


def test_signals_while_it_leaves_end_that_too(
    beside: Callable[[str], Terminal], tmp_path: Path
) -> None:
    terminal = beside("frozen")
    terminal.type(b"q")
    assert terminal.until(LEFT, 1.0)
    time.sleep(0.3)
    terminal.child.send_signal(signal.SIGTERM)
    assert terminal.ended(0.7) is not None and terminal.restored
    assert not stubborn.left(tmp_path)
