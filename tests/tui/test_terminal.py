"""The program in a real terminal: it leaves it as it found it, however it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui.streams import Stream, write
from tests.tui.terminal import ENTERED, LEFT, ROOT, running


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("recording") / "a.vmlat.gz", Stream().whole(3))


def screens(recording: Path, *options: str) -> list[str]:
    return ["-m", "vmlat_tui", "--replay", str(recording), "--speed", "0", *options]


def test_quitting_restores_the_terminal(recording: Path) -> None:
    with running(screens(recording)) as terminal:
        assert terminal.until(b"web-1")
        terminal.type(b"jj\r")
        assert terminal.until("guest → wire".encode())
        terminal.type(b"q")
        assert terminal.ended() == 0 and terminal.restored


def test_sigterm_restores_the_terminal(recording: Path) -> None:
    with running(screens(recording)) as terminal:
        assert terminal.until(b"web-1")
        terminal.child.send_signal(signal.SIGTERM)
        assert terminal.ended() == 128 + signal.SIGTERM and terminal.restored


def test_an_exception_restores_the_terminal(recording: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from vmlat_tui.tui.screens.domains import DomainsScreen\n"
        "def broken(self): raise RuntimeError('a fault of ours')\n"
        "DomainsScreen.action_mark = broken\n"
        "from vmlat_tui.cli import main\n"
        f"sys.exit(main({screens(recording)[2:]!r}))\n"
    )
    with running(["-c", code], HOME=str(tmp_path)) as terminal:
        assert terminal.until(b"web-1")
        terminal.type(b"m")
        assert terminal.ended() == 1 and terminal.restored
        last = terminal.output[terminal.output.rindex(LEFT) :]
        assert b"a fault of ours" in last and b"Traceback" not in last
    (kept,) = tmp_path.rglob("defect.txt")
    assert "in broken" in kept.read_text()


def test_a_wrong_file_is_said_before_any_screen(tmp_path: Path) -> None:
    with running(screens(tmp_path / "none")) as terminal:
        assert terminal.ended() == 2
        assert b"cannot be opened" in terminal.output and ENTERED not in terminal.output


def test_without_colour_no_colour_is_written(recording: Path) -> None:
    with running(screens(recording, "--no-color", "--ascii")) as terminal:
        assert terminal.until(b"web-1")
        terminal.type(b"q")
        assert terminal.ended() == 0
    assert terminal.output.replace(b"\x1b", b"").isascii()
    assert not any(code in terminal.output for code in (b"38;2", b"48;2", b"38;5", b"48;5"))


def plain(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vmlat_tui", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, cwd=ROOT,
    )  # fmt: skip


def test_without_a_terminal_a_plain_snapshot_is_printed(recording: Path) -> None:
    done = plain(*screens(recording)[2:])
    assert (done.returncode, done.stderr) == (0, "")
    assert "hv1, Linux 6.1" in done.stdout and "worker on vCPU's CPU" in done.stdout
    assert "vnet0 RX, since the start" in done.stdout and "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--replay", "x", "--speed", "fast"], "--speed 'fast' is wrong"),
        (["--connect", ""], "--connect is empty"),
        (["--ascii", "doctor"], "doctor goes before its options"),
        (["nonsense"], "invalid choice"),
    ],
)
def test_usage_errors_are_one_line_and_status_2(arguments: list[str], words: str) -> None:
    done = plain(*arguments)
    assert done.returncode == 2 and words in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not done.stdout
