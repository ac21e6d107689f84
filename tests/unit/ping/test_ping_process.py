"""What pings ends with us, also where a connection leads to it and it never says anything."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from vmlat_tui.ping.process import Pinging
from vmlat_tui.transport import hosts

SILENT = "trap : INT; echo $$ >{}; exec sleep 60"


def silent(tmp_path: Path) -> tuple[list[str], Path]:
    """A command that says nothing, and the file with its process id."""
    path = tmp_path / "pid"
    return ["sh", "-c", SILENT.format(shlex.quote(str(path)))], path


def alive(path: Path) -> bool:
    """Whether the process of that file is, or soon will be, still there."""
    end = time.monotonic() + 5
    while not (path.exists() and path.read_text()) and time.monotonic() < end:
        time.sleep(0.02)
    stat = Path(f"/proc/{int(path.read_text())}/stat")
    return stat.exists() and ") Z " not in stat.read_text()


def shell_of(argv: Sequence[str]) -> list[str]:
    """What the sshd of the other host starts."""
    assert argv[0] == "ssh"
    return ["sh", "-c", argv[-1]]


def test_closing_ends_it_at_once(tmp_path: Path) -> None:
    command, path = silent(tmp_path)
    pinging = Pinging(hosts.command_at(hosts.LOCAL, command, ""))
    assert alive(path) and pinging.status is None
    begin = time.monotonic()
    pinging.close()
    assert not alive(path) and time.monotonic() - begin < 1.5 and pinging.status


def test_it_ends_with_the_connection(tmp_path: Path) -> None:
    command, path = silent(tmp_path)
    argv = shell_of(hosts.command_at("vm-a", command, ""))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True) as there:
        assert alive(path) and there.stdin and there.poll() is None
        there.stdin.close()
        assert there.wait(5)
    end = time.monotonic() + 2
    while alive(path) and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive(path)


@pytest.mark.parametrize("place", [hosts.LOCAL, "vm-a"])
@pytest.mark.parametrize("status", [0, 1, 2])
def test_its_words_and_status_are_what_is_told(place: str, status: int) -> None:
    command = ["sh", "-c", f'printf "%s\\n" "$@"; exit {status}', "sh", "a b", "$(c)", "'"]
    argv = hosts.command_at(place, command, "")
    pinging = Pinging(argv if place == hosts.LOCAL else shell_of(argv))
    end = time.monotonic() + 5
    while pinging.status is None and time.monotonic() < end:
        time.sleep(0.02)
    assert pinging.status == status
    assert pinging.last_words == ["a b", "$(c)", "'"]
    pinging.close()
