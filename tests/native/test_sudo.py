"""``sudo vmlat``: the agent is root, the rest of it the user who called sudo."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.native.net import Bed, wait_until
from tests.native.nobody import LETS_IN, REFUSES, USER, by_nobody

ROOT = Path(__file__).resolve().parents[2]
VMLAT = ROOT / ".venv" / "bin" / "vmlat"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the user's, which the user can reach."""
    made = tmp_path_factory.mktemp("home")
    os.chown(made, USER, USER)
    for parent in made.parents[: len(made.parents) - 2]:
        parent.chmod(parent.stat().st_mode | 0o011)
    return made


def as_sudo_says(*words: str, command: str = str(VMLAT)) -> dict[str, str]:
    """The environment in which sudo starts it."""
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "USER": "root", "TERM": "xterm",
        "SUDO_UID": str(USER), "SUDO_GID": str(USER), "SUDO_USER": "nobody",
        "SUDO_COMMAND": " ".join((command, *words)),
    }  # fmt: skip


class Run:
    """vmlat as sudo starts it, in a directory of the user's."""

    def __init__(self, place: Path, *words: str, command: str = str(VMLAT)) -> None:
        self.child = subprocess.Popen(
            [str(VMLAT), *words], cwd=place, env=as_sudo_says(*words, command=command),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def said(self) -> tuple[int, str, str]:
        out, err = self.child.communicate(timeout=60)
        return self.child.returncode, out, err

    def family(self) -> list[int]:
        """It and what it started, from the first to the last."""
        found, todo = [], [self.child.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            path = Path(f"/proc/{pid}/task/{pid}/children")
            todo += [int(word) for word in path.read_text().split()] if path.exists() else []
        return found

    def user_and_agent(self) -> tuple[int, int]:
        """The process of the user, and the agent; root's first one is neither."""

        def first(is_it: Callable[[int], bool]) -> int:
            for pid in self.family()[1:]:
                with contextlib.suppress(OSError):  # it has ended
                    if is_it(pid):
                        return pid
            return 0

        def find() -> tuple[int, int]:
            user = first(lambda pid: status(pid, "Uid").split()[0] == str(USER))
            return user, first(lambda pid: b"vmlat_tui.agent" in command(pid))

        def command(pid: int) -> bytes:
            return Path(f"/proc/{pid}/cmdline").read_bytes()

        assert wait_until(lambda: all(find()), 20), self.child.poll()
        return find()


def status(pid: int, key: str) -> str:
    text = Path(f"/proc/{pid}/status").read_text()
    return str(re.findall(rf"^{key}:\s*(.*)$", text, re.MULTILINE)[0]).replace("\t", " ")


def is_gone(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    return not path.exists() or path.read_text().rsplit(") ", 1)[1].startswith("Z")


@pytest.fixture
def running(place: Path, module_bed: Bed) -> Iterator[Run]:
    made = Run(place, "trace", "--vm-interface", module_bed.tap.name, "--stats",
               "--duration", "30")  # fmt: skip
    yield made
    made.child.kill()
    made.child.communicate()


def test_only_the_agent_is_root(running: Run) -> None:
    user, agent = running.user_and_agent()
    assert status(user, "Uid") == status(user, "Gid") == " ".join([str(USER)] * 4)
    assert status(user, "Groups").split() == [str(USER)]
    assert [status(user, f"Cap{kind}") for kind in ("Prm", "Eff")] == ["0" * 16] * 2
    assert status(agent, "Uid").split()[0] == "0"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_from_sudo_ends_all_of_it(running: Run, number: signal.Signals) -> None:
    user, agent = running.user_and_agent()
    time.sleep(1.0)
    running.child.send_signal(number)
    running.said()
    assert is_gone(user) and is_gone(agent)


def test_when_the_users_process_is_killed_nothing_is_left(running: Run) -> None:
    user, agent = running.user_and_agent()
    os.kill(user, signal.SIGKILL)
    code, _, err = running.said()
    assert code == -signal.SIGKILL, err
    assert is_gone(agent)


def test_when_roots_process_is_killed_nothing_is_left(running: Run) -> None:
    user, agent = running.user_and_agent()
    running.child.kill()
    assert wait_until(lambda: is_gone(user) and is_gone(agent), 10)


def test_a_frozen_agent_of_root_is_ended_by_force(running: Run) -> None:
    user, agent = running.user_and_agent()
    time.sleep(1.0)
    os.kill(agent, signal.SIGSTOP)
    os.kill(user, signal.SIGTERM)
    running.said()
    assert is_gone(agent)


def test_its_figures_and_its_exit_status_are_those_of_the_users_process(
    place: Path, module_bed: Bed
) -> None:
    code, out, err = Run(place, "trace", "--vm-interface", module_bed.tap.name, "--stats",
                         "--duration", "1").said()  # fmt: skip
    assert code == 0 and "Statistics" in out, err
    code, _, err = Run(place, "trace", "--vm-interface", "nosuch", "--duration", "1").said()
    assert code == 2 and "nosuch" in err


def test_what_it_writes_is_the_users(place: Path, module_bed: Bed) -> None:
    name = module_bed.tap.name
    code, _, err = Run(place, "record", "mine.vmlat.gz", "--vm-interface", name,
                       "--duration", "1").said()  # fmt: skip
    assert code == 0, err
    assert (place / "mine.vmlat.gz").stat().st_uid == USER


def test_it_reads_only_what_the_user_may(place: Path) -> None:
    secret = place / "secret.vmlat"
    secret.write_text("{}\n")
    secret.chmod(0o600)
    code, _, err = Run(place, "replay", "secret.vmlat").said()
    assert code == 2 and "Permission denied" in err


def test_in_a_shell_that_sudo_started_root_is_root(place: Path, module_bed: Bed) -> None:
    code, _, err = Run(place, "record", "root.vmlat", "--vm-interface", module_bed.tap.name,
                       "--duration", "1", command="/bin/bash").said()  # fmt: skip
    assert code == 0, err
    assert (place / "root.vmlat").stat().st_uid == 0


@pytest.mark.parametrize("words", [["sudo", "-n", VMLAT, "doctor"], [VMLAT, "doctor", "--sudo"]])
def test_the_real_sudo(place: Path, words: list[object]) -> None:
    done = by_nobody(place, LETS_IN, *map(str, words))
    assert done.returncode == 0 and "The main path can be measured" in done.stdout, done.stderr


def test_a_sudo_that_refuses_is_said_with_what_to_do(place: Path) -> None:
    done = by_nobody(place, REFUSES, str(VMLAT), "doctor", "--sudo")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "refuses sudo" in done.stderr and "NOPASSWD" in done.stderr
