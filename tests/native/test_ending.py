"""An agent that nobody wants any more ends at once, also while it compiles."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.native.net import Bed, wait_until
from vmlat_tui.transport import bundle, hosts

#: For this machine; the agent's own patience with itself was ten.
SOON_S = 2.0
#: The other host's Python is the one that has BCC: this one's own, without its environment.
PATH = os.pathsep.join([str(Path(sys.executable).resolve().parent), os.environ["PATH"]])
#: Where it measures, and by which commands it comes to compile.
COMMANDS: dict[str, list[dict[str, Any]]] = {
    "guest": [{"command": "configure", "guest": True}],
    "host": [{"command": "configure"}],
    "later": [{"command": "configure", "measure": False}, {"command": "measure"}],
    "doctor": [{"command": "describe"}],
}


def running(marker: str) -> list[int]:
    """Processes that have this in their environment: an agent and what it started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def compiles(pid: int) -> bool:
    """It has begun: the library is there."""
    try:
        return "/libbcc" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


class Busy:
    """An agent whose compilers, stopped, would take for ever."""

    def __init__(self, tmp: Path, far: bool, commands: list[dict[str, Any]]) -> None:
        (tmp / "tmp").mkdir()
        self.tmp = tmp / "tmp"
        self._marker = f"VMLAT_CACHE={tmp}/cache"
        host = hosts.here()
        command = ["sh", "-c", shlex.join(["exec", *bundle.COMMAND])] if far else list(host.argv)
        self.child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            env={"PATH": PATH, "TMPDIR": str(self.tmp), "VMLAT_CACHE": f"{tmp}/cache",
                 **({} if far else host.environment)},
        )  # fmt: skip
        assert self.child.stdin
        lines = b"".join(json.dumps(command).encode() + b"\n" for command in commands)
        self.child.stdin.write((bundle.agent_bundle() if far else b"") + lines)

        def stop() -> bool:
            for pid in filter(compiles, running(self._marker)):
                os.kill(pid, signal.SIGSTOP)
                self.stopped.add(pid)
            return len(self.stopped) >= 3

        self.stopped: set[int] = set()
        assert wait_until(stop, 30), "it does not compile"

    def leaves_nothing(self) -> bool:
        """Soon."""
        return wait_until(lambda: not running(self._marker) and not any(self.tmp.iterdir()), SOON_S)

    def close(self) -> None:
        for pid in running(self._marker):
            os.kill(pid, signal.SIGKILL)
        self.child.wait(20)
        for pipe in (self.child.stdin, self.child.stdout):
            assert pipe
            pipe.close()


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Callable[[bool, str], Busy]]:
    made: list[Busy] = []
    with Bed() as bed:

        def make(far: bool, where: str) -> Busy:
            taps = {"vm_interfaces": [bed.tap.name], "uplinks": [bed.uplink]}
            made.append(Busy(tmp_path, far, [{**taps, **line} for line in COMMANDS[where]]))
            return made[-1]

        yield make
        for one in made:
            one.close()


@pytest.mark.parametrize("where", COMMANDS)
@pytest.mark.parametrize("far", [False, True])
def test_at_the_end_of_its_input(busy: Callable[[bool, str], Busy], far: bool, where: str) -> None:
    agent = busy(far, where)
    assert not list(agent.tmp.rglob("__pycache__")), "it may be written while it is removed"
    assert agent.child.stdin
    agent.child.stdin.close()
    assert agent.leaves_nothing()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("far", [False, True])
def test_at_a_signal(busy: Callable[[bool, str], Busy], far: bool, number: signal.Signals) -> None:
    agent = busy(far, "guest")
    agent.child.send_signal(number)
    assert agent.leaves_nothing()


def test_compilers_do_not_outlive_an_agent_that_is_killed(
    busy: Callable[[bool, str], Busy],
) -> None:
    agent = busy(False, "guest")
    agent.child.kill()
    agent.child.wait(10)
    assert agent.leaves_nothing()
