"""Agents that do not end when they should, and commands that have them.

What an agent does before that it reads from its directory, so that it starts at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.support.frames import encoded
from tests.tui.streams import Stream

ROOT = Path(__file__).resolve().parents[2]
#: ``HOW DIRECTORY``; it is *stuck* once it has begun to be what HOW says.
_AGENT = """
import os, signal, sys, time
how, directory = sys.argv[1:3]
def given(name):
    with open(os.path.join(directory, name), "rb") as file:
        return file.read()
def say(data):
    while data:
        data = data[os.write(1, data):]
def mark(name):
    open(os.path.join(directory, name), "w").close()
mark(f"pid-{os.getpid()}")
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)
def stick():
    mark("stuck")
    if how == "frozen":
        os.kill(os.getpid(), signal.SIGSTOP)
    while how == "floods":
        say(ack * 1000)
    while how == "goes on":
        say(ack)
        time.sleep(0.02)
    while True:
        time.sleep(60)
ack = given("ack")
if how == "silent":
    stick()
while True:
    command = os.read(0, 65536)
    looks = b'"measure": false' in command or b'"measure":false' in command
    if b"describe" in command:
        stick()
    if b"configure" in command:
        say(given("looking" if looks else "measuring"))
    if b'"measure",' in command or b'"measure"}' in command:
        say(given("begun"))
    elif looks and not os.path.exists(os.path.join(directory, "measures")):
        stick()
    elif looks:
        continue
    for _ in range(3):
        time.sleep(0.02)
        say(given("stats"))
    stick()
"""
#: argv: HOW, DIRECTORY, the arguments.
_PROGRAM = """
import sys
from vmlat_tui.cli import main
from vmlat_tui.transport import hosts
from vmlat_tui.transport.hosts import Host
how, directory, *arguments = sys.argv[1:]
agent = (sys.executable, "-IS", directory + "/agent.py", how, directory)
far = "--host" in arguments or "ping" in arguments
hosts.here = lambda: Host("this host", agent)
hosts.reached_by_ssh = lambda place, sudo=False, option="": Host(place, agent, far=True)
sys.exit(main(arguments))
"""
#: Commands that measure, some after they have looked.
MEASURES = frozenset(
    {"trace", "icmp", "irq", "kick", "guest", "record", "live", "glance", "screens"}
)
#: How much of what they say is too much for a command to wait.
_SAID = {"topology": 1, "ping": 1}
COMMANDS: dict[str, tuple[str, ...]] = {
    "trace": ("trace", "--format", "json"),
    "icmp": ("icmp",),
    "irq": ("irq",),
    "kick": ("kick", "--host", "hv1"),
    "guest": ("guest",),
    "ping": ("ping", "--sender", "hv1/vm-a", "--receiver", "hv2/vm-b"),
    "record": ("record", "{}/recorded.vmlat"),
    "live": ("doctor", "--live"),
    "doctor": ("doctor", "--host", "hv1"),
    "topology": ("topology",),
    "glance": (),
    "screens": (),
}


def prepare(directory: Path, command: str) -> None:
    """Write down what the agents say; one that is asked for its topology does not."""
    stream = Stream(("web-1",), flows=1)
    points = stream.measuring()["points"]
    given = {
        "ack": [{"type": "ack", "id": 0, "command": "measure", "took_ns": 1}],
        "looking": [stream.hello(), stream.topology(), stream.vitals()][: _SAID.get(command)],
        "measuring": [{**stream.hello(), "points": points}, stream.links(), stream.topology()],
        "begun": [stream.measuring(), stream.links()],
        "stats": [stream.stats()],
    }
    (directory / "agent.py").write_text(_AGENT)
    for name, said in given.items():
        (directory / name).write_bytes(b"".join(map(encoded, said)))
    if command in MEASURES:
        (directory / "measures").touch()


def program(how: str, directory: Path, command: str, first: str = "") -> list[str]:
    """What runs a command of :data:`COMMANDS` with such agents, after ``first``."""
    directory.mkdir(exist_ok=True)
    prepare(directory, command)
    words = [word.format(directory) for word in COMMANDS[command]]
    return ["-c", first + _PROGRAM, how, str(directory), *words]


class Stuck:
    """A command that waits for agents that do not end."""

    def __init__(self, how: str, directory: Path, command: str, first: str = "") -> None:
        self.directory = directory
        self.child = subprocess.Popen(
            [sys.executable, *program(how, directory, command, first)], cwd=ROOT, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
        )  # fmt: skip

    def waits(self) -> bool:
        """Its agents are stuck."""
        return stuck(self.directory)

    def close(self) -> None:
        end(self.directory)
        self.child.kill()
        self.child.communicate()


def stuck(directory: Path, seconds: float = 30.0) -> bool:
    """Whether an agent is, soon."""
    deadline = time.monotonic() + seconds
    while not (directory / "stuck").exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def left(directory: Path) -> list[int]:
    """Its agents that are still there."""
    pids = [int(path.name.partition("-")[2]) for path in directory.glob("pid-*")]
    return [pid for pid in pids if _runs(pid, str(directory))]


def _runs(pid: int, directory: str) -> bool:
    try:
        return directory.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def end(directory: Path) -> None:
    """Kill those that are left."""
    for pid in left(directory):
        os.kill(pid, 9)
