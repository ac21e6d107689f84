"""The log: off unless asked for, one printable line a record, in a file that is made safely."""

from __future__ import annotations

import argparse
import calendar
import io
import json
import logging
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmlat_tui import cli, log
from vmlat_tui.commands import lab
from vmlat_tui.commands.show import show
from vmlat_tui.errors import UsageError
from vmlat_tui.transport.source import Nothing

_log = logging.getLogger("vmlat_tui.some.module")


@pytest.fixture(autouse=True)
def is_off_again() -> Iterator[None]:
    yield
    assert log.level() is None and not logging.getLogger("vmlat_tui").handlers


def run(*words: str) -> int:
    """The exit status of a command; that of a wrong command line, too."""
    try:
        return cli.main(words)
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code


def test_nothing_is_logged_by_default(capfd: pytest.CaptureFixture[str]) -> None:
    assert not _log.isEnabledFor(logging.CRITICAL)
    _log.critical("nobody asked")
    with log.written(None, None):
        _log.critical("nobody asked")
        assert log.level() is None
    assert capfd.readouterr() == ("", "")


def test_levels_from_the_one_asked_for_are_written(tmp_path: Path) -> None:
    path = tmp_path / "log"
    begin = time.time()
    with log.written("warning", path):
        assert log.level() == "warning"
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            _log.log(level, "%s times", 5)
    lines = path.read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "WARNING vmlat_tui.some.module: 5 times",
        "ERROR vmlat_tui.some.module: 5 times",
    ]
    written = time.strptime(lines[0].split(".")[0], "%Y-%m-%dT%H:%M:%S")
    assert -1 <= calendar.timegm(written) - begin < 60


def test_a_file_without_a_level_has_what_matters(tmp_path: Path) -> None:
    with log.written(None, tmp_path / "log"):
        assert log.level() == "info"


def test_a_level_without_a_file_is_for_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with log.written("debug", None):
        _log.debug("here")
    out, err = capfd.readouterr()
    assert out == "" and err.endswith("Z DEBUG vmlat_tui.some.module: here\n")


def test_what_others_wrote_stays_one_printable_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    hostile = "a\nb\r\x1b[2J\x07\x9b\u202e\u2028\udcff\0 é"
    with log.written("info", path):
        _log.info("%s", hostile)
        _log.info("%s", "x" * 99_999)
        try:
            raise ValueError("\x1b[1m\n")
        except ValueError:
            _log.exception("failed")
    first, second, third = path.read_bytes().decode("utf-8").split("\n")[:-1]
    assert first.isprintable() and first.endswith(r"a\nb\r\x1b[2J\x07\x9b\u202e\u2028\udcff\x00 é")
    assert len(second) == log.LONGEST and second.endswith("x…")
    assert third.isprintable() and r"\nTraceback " in third and r"ValueError: \x1b[1m" in third


def test_lines_of_another_process_are_known_by_their_form(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with log.written("debug", path):
        for name in log.LEVELS:
            getattr(_log, name)("said")
    found = [log.level_of(line) for line in path.read_text().splitlines()]
    assert found == [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR]
    for other in ("", "sudo: a password is required", "2026-11-30T17:41:20.721Z INFO other: x",
                  " 2026-11-30T17:41:20.721Z INFO vmlat_tui: x", "\x1b[2J"):  # fmt: skip
        assert log.level_of(other) is None


# ---- the file -----------------------------------------------------------------------------------


def test_the_file_is_its_owners_alone_and_made_anew(tmp_path: Path) -> None:
    path, precious = tmp_path / "log", tmp_path / "precious"
    precious.write_text("nobody changes this")
    path.symlink_to(precious)
    before = os.umask(0)
    try:
        with log.written("info", path):
            _log.info("new")
            assert "new" in path.read_text()  # at once
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600 and stat.S_ISREG(path.lstat().st_mode)
    assert precious.read_text() == "nobody changes this"
    with log.written("info", path):
        pass
    assert path.read_text() == "" and sorted(tmp_path.iterdir()) == [path, precious]


@pytest.mark.parametrize("kind", ["directory", "fifo", "below a file", "nowhere"])
def test_a_place_that_is_none_is_one_line(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "below a file":
        path.touch()
        path /= "log"
    else:
        path = tmp_path / "missing" / "log"
    assert run("demo", "--list", "--log-file", str(path)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and str(path) in err


def test_an_unknown_level_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", "--list", "--log-level", "lo\x1bud") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "debug, info, warning, error" in err and "\x1b" not in err


def test_a_log_that_cannot_be_written_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.TextIOWrapper):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(io, "TextIOWrapper", Full)
    assert run("demo", "--list", "--log-file", str(tmp_path / "log")) == 0
    out, err = capsys.readouterr()
    assert "slow-uplink" in out
    assert err.count("\n") == 1 and "log is incomplete: " in err and "No space left" in err


# ---- the commands -------------------------------------------------------------------------------


def test_a_command_logs_what_it_was_and_how_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log"
    assert run("replay", "/nonexistent", "--log-file", str(path)) == 2
    first, second, *_, last = path.read_text().splitlines()
    assert "vmlat_tui.cli: vmlat 0." in first and "file='/nonexistent'" in second
    assert " ERROR vmlat_tui.cli: ended by " in last
    assert run("demo", "--list", "--log-file", str(path)) == 0
    assert path.read_text().endswith("exit status 0\n")
    assert len(capsys.readouterr().err.splitlines()) == 1


ACTIONS = ("run", "up", "ssh", "guest", "scenario", "status", "down", "list", "build")


@pytest.mark.parametrize(
    "words", [(), *((name,) for name in cli.COMMANDS), *(("lab", name) for name in ACTIONS)]
)
def test_every_command_has_the_options(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, "--help") == 0
    out = capsys.readouterr().out
    assert "--log-level LEVEL" in out and "--log-file FILE" in out


def test_an_agent_that_is_driven_by_hand_logs_beside_its_frames(tmp_path: Path) -> None:
    words = (sys.executable, "-m", "vmlat_tui", "agent", "--log-level", "info")
    line = b'{"command": "measure"}'
    done = subprocess.run(words, input=line + b"\n", capture_output=True, timeout=60, check=False)
    assert done.returncode == 2 and json.loads(done.stdout)["type"] == "error"
    said = done.stderr.decode().splitlines()
    assert [line for line in said if log.level_of(line) is None] == []
    assert any(" INFO vmlat_tui.agent.agent: agent " in line for line in said)
    assert any(" vmlat_tui.agent.agent: command measure, id None" in line for line in said)


def test_an_action_of_the_lab_takes_them_before_and_after_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def run_it(args: argparse.Namespace) -> int:
        seen.append(log.level())
        return 0

    monkeypatch.setattr(lab, "run", run_it)
    assert run("lab", "--log-level", "debug", "status") == 0
    assert run("lab", "status", "--log-file", str(tmp_path / "log")) == 0
    assert run("lab", "status") == 0
    assert seen == ["debug", "info", None]


def test_the_screens_do_not_share_the_terminal_with_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal())
    with log.written("info", None), pytest.raises(UsageError, match="--log-file"):
        show(argparse.Namespace(), Nothing)
    # With a file it goes on, to options that this namespace does not have.
    with log.written("info", tmp_path / "log"), pytest.raises(AttributeError, match="no_color"):
        show(argparse.Namespace(), Nothing)
