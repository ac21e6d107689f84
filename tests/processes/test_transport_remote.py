"""Another host over ssh: how it is reached, why not, and that a lost connection comes back."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.far import FarHost
from tests.support.frames import next_object
from vmlat_tui import log, programs
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.model.flows import Filter, Protocol
from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol import commands
from vmlat_tui.protocol.commands import Configure, Describe, Measure, Read, Release
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.transport import bundle, hosts, persistent
from vmlat_tui.transport.hosts import Host, reached_by_ssh
from vmlat_tui.transport.persistent import Persistent
from vmlat_tui.transport.process import AgentDied, AgentProcess

LOOK = Configure(discover=True, measure=False)


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FarHost:
    """Another host behind our ssh."""
    host = FarHost(tmp_path)
    monkeypatch.setenv("PATH", host.path)
    monkeypatch.setattr(persistent, "_PAUSES_S", (0.1, 0.2))
    return host


def until(source: Persistent, kind: str, seconds: float = 30.0) -> Raw:
    """The next frame of a type."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        frame = next_object(source, 0.2)
        if frame is not None and frame["type"] == kind:
            return frame
    raise AssertionError(f"no {kind} in {seconds} s")


# ---- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-oProxyCommand=touch x",
        "--",
        "a b",
        "a;b",
        "$(x)",
        "`x`",
        "a'b",
        'a"b',
        "a\nb",
        "@h",
        "x" * 300,
        "a\\b",
        "é",
        "a|b",
        "~root",
    ],
)
def test_what_is_no_host_is_refused_before_ssh_is_asked(name: str) -> None:
    with pytest.raises(UsageError, match="is not a host"):
        reached_by_ssh(name)


@pytest.mark.parametrize("name", ["hv1", "root@hv1", "a.b@10.0.0.9", "ssh://u@[fd00::1]:22", "h_1"])
def test_ssh_gets_the_name_as_a_name_and_one_quoted_command(name: str) -> None:
    line = reached_by_ssh(name).argv
    assert line[0] == "ssh" and line[-3:-1] == ("--", name)
    safely = ["exec", "/usr/bin/env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    assert shlex.split(line[-1]) == [*safely, *bundle.COMMAND]
    assert "\n" not in line[-1] and line[-1].count("'") == 2 and "!" not in line[-1]
    assert "BatchMode=yes" in line
    raised = shlex.split(reached_by_ssh(name, sudo=True).argv[-1])
    assert raised == [*safely, "sudo", "-n", *bundle.COMMAND]


# ---- the agent travels --------------------------------------------------------------------------


def test_the_agent_travels_looks_around_and_leaves_nothing(far: FarHost) -> None:
    source = Persistent(reached_by_ssh("me@hv1"), LOOK)
    try:
        source.open()
        assert "--" in far.arguments and "me@hv1" in far.arguments
        (directory,) = far.tmp.iterdir()
        assert directory.stat().st_mode & 0o777 == 0o700
        assert until(source, "hello")["host"]
        topology = until(source, "topology")
        assert any(link["name"] == "lo" for link in topology["interfaces"]), topology["notes"]
    finally:
        source.close()
    assert far.empties()


def test_with_sudo_the_agent_is_started_by_it(far: FarHost) -> None:
    source = Persistent(reached_by_ssh("me@hv1", sudo=True), LOOK)
    try:
        source.open()
        agent = until(source, "hello")["agent"]
        # Of the login's environment the agent is told little: its parent knows.
        parent = Path(f"/proc/{agent}/stat").read_text().rsplit(") ", 1)[1].split()[1]
        assert b"VMLAT_SUDO=1" in Path(f"/proc/{parent}/environ").read_bytes().split(b"\0")
    finally:
        source.close()
    assert far.empties()


def test_the_bundle_is_the_same_every_time_and_has_no_more_than_the_agent() -> None:
    first = bundle.agent_bundle()
    bundle.agent_bundle.cache_clear()
    assert bundle.agent_bundle() == first and len(first) < 1 << 20
    names = [name for name, _ in bundle._files()]
    assert "bpf/path.bpf.c" in names and "vmlat_tui/agent/agent.py" in names
    assert not [
        name for name in names if "/tui/" in name or "/lab/" in name or "__pycache__" in name
    ]


def shell(content: bytes, far: FarHost) -> subprocess.Popen[bytes]:
    """What another host's sshd would start, with the beginning of its input."""
    child = subprocess.Popen(
        ["sh", "-c", shlex.join(["exec", *bundle.COMMAND])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(far.tmp)},
    )  # fmt: skip
    assert child.stdin
    child.stdin.write(content)
    return child


def configured(far: FarHost, content: bytes) -> subprocess.Popen[bytes]:
    """One whose agent has said hello."""
    line = json.dumps({"command": "configure", "measure": False}).encode() + b"\n"
    child = shell(content + line, far)
    assert child.stdout
    assert json.loads(child.stdout.readline())["type"] == "hello" and any(far.tmp.iterdir())
    return child


@pytest.mark.parametrize("size", [0, 10, 100_000])
def test_a_connection_that_breaks_while_the_agent_travels_leaves_nothing(
    far: FarHost, size: int
) -> None:
    child = shell(bundle.agent_bundle()[:size], far)
    child.communicate(timeout=20)
    assert not any(far.tmp.iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_there_leaves_nothing(far: FarHost, number: signal.Signals) -> None:
    child = configured(far, bundle.agent_bundle())
    child.send_signal(number)
    child.communicate(timeout=20)
    assert not any(far.tmp.iterdir())


def test_an_agent_that_has_not_heard_from_the_other_side_ends(far: FarHost) -> None:
    impatient = bundle.agent_bundle().replace(b"SILENCE_S = 60.0", b"SILENCE_S = 3.0")
    child = configured(far, impatient)
    assert child.stdin
    for _ in range(4):
        time.sleep(1.0)
        child.stdin.write(b"\n")
    assert child.poll() is None, "an empty line says that somebody is there"
    assert child.wait(20) != 0
    assert not any(far.tmp.iterdir())


# ---- who is not let in --------------------------------------------------------------------------

REFUSALS = {
    (255, "me@hv1: Permission denied (publickey,password)."): "ssh me@hv1",
    (255, "Received disconnect: 2: Too many authentication failures"): "ssh me@hv1",
    (255, "Host key verification failed."): "ssh me@hv1",
    (127, "sh: 1: python3: not found"): "install python3 there",
    (1, "sudo: a password is required"): "NOPASSWD",
    (1, "vmlat needs Python 3.9, this is 3.6.8"): "later python3",
}


@pytest.mark.parametrize(("how", "remedy"), REFUSALS.items())
def test_a_refusal_has_its_cause_and_remedy_and_is_not_tried_again(
    far: FarHost, how: tuple[int, str], remedy: str
) -> None:
    far.says(*how)
    source = Persistent(reached_by_ssh("me@hv1"), LOOK)
    with pytest.raises(UsageError) as refused:
        source.open()
    source.close()
    assert how[1] in str(refused.value) and remedy in str(refused.value)
    assert "me@hv1" in str(refused.value)


@pytest.mark.parametrize(
    "words", ["ssh: connect to host hv1 port 22: Connection refused", "ssh: Could not resolve x"]
)
def test_a_host_that_was_never_reached_is_not_tried_again(far: FarHost, words: str) -> None:
    far.says(255, words)
    source = Persistent(reached_by_ssh("hv1"), LOOK)
    with pytest.raises(AgentDied, match=words):
        source.open()
    source.close()


def test_without_ssh_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(programs, "SYSTEM_PATH", "/nowhere")
    with pytest.raises(UsageError, match="install openssh-client"):
        AgentProcess(reached_by_ssh("hv1"))


def test_an_agent_there_logs_into_our_log(far: FarHost, tmp_path: Path) -> None:
    path = tmp_path / "log"
    with log.written("info", path):
        source = Persistent(reached_by_ssh("hv1"), LOOK)
        try:
            source.open()
            agent = until(source, "hello")["agent"]
            far.cut()
            until(source, "lost")
            again = until(source, "hello")["agent"]
        finally:
            source.close()
    text = path.read_text()
    for said in (
        f"agent {agent} of vmlat ",
        f"agent {again} of vmlat ",
        "vmlat_tui.agent.agent: command configure",
        "says: Connection to hv1 closed by remote host.",
        "vmlat_tui.transport.persistent: [hv1] the connection to hv1 was lost",
        "ended: exit status",
    ):
        assert said in text
    assert far.empties()


# ---- a connection that breaks -------------------------------------------------------------------


def test_a_lost_connection_is_said_tried_again_and_comes_back(far: FarHost) -> None:
    source = Persistent(reached_by_ssh("hv1"), LOOK)
    try:
        source.open()
        first = until(source, "hello")
        until(source, "topology")
        far.says(255, "ssh: connect to host hv1 port 22: No route to host")
        far.cut()
        lost = until(source, "lost")
        assert lost["attempt"] == 1 and "closed by remote host" in lost["cause"]
        while lost["attempt"] < 3:
            lost = until(source, "lost")
        assert "No route" in lost["cause"] and lost["wait_s"] == 0.2
        far.lets_in()
        again = until(source, "hello")
        assert again["agent"] != first["agent"] and again["boot"] == first["boot"]
        until(source, "topology")
    finally:
        source.close()
    assert far.empties()


def test_who_is_not_let_in_again_gives_up(far: FarHost) -> None:
    source = Persistent(reached_by_ssh("hv1"), LOOK)
    try:
        source.open()
        far.says(255, "me@hv1: Permission denied (publickey).")
        far.cut()
        with pytest.raises(UsageError, match="does not let you in"):
            until(source, "topology", 10)
            until(source, "hello", 10)
    finally:
        source.close()


#: Says what it hears and measures what it is told; ends when told to ``read``, refuses a filter.
ECHO = """
import json, sys
print(json.dumps({"type": "hello", "schema": 1, "kernel": "k", "host": "h", "agent": 1,
                  "clock": {"mono_ns": 1, "wall_ns": 2}}), flush=True)
for line in sys.stdin:
    heard = json.loads(line)
    if heard["command"] == "read":
        sys.exit("cut")
    answer = {"type": "ack", "id": heard.get("id"), "command": heard["command"], "took_ns": 1}
    if heard["command"] == "measure":
        answer["requested"] = {k: v for k, v in heard.items() if k not in ("id", "command")}
    if heard.get("filters"):
        answer = {"type": "error", "id": heard.get("id"), "title": "no"}
    print(json.dumps({"type": "notice", "text": json.dumps(heard)}), flush=True)
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Persistent]:
    """An agent that says what it heard."""
    monkeypatch.setattr(persistent, "_PAUSES_S", (0.05,))
    source = Persistent(Host("far", (sys.executable, "-c", ECHO), far=True), LOOK)
    yield source
    source.close()


def heard(source: Persistent) -> dict[str, Any]:
    """The next command that the agent has heard."""
    found: dict[str, Any] = json.loads(until(source, "notice")["text"])
    return found


TCP = (Filter(protocol=Protocol.TCP),)
FIRST = Requested(("vnet0",), threshold_ns=5)
REFUSED = replace(FIRST, filters=TCP)


def request(source: Persistent, number: int, requested: Requested) -> None:
    source.send(Measure(requested, number))


def again(source: Persistent) -> list[tuple[Any, Requested]]:
    """What the next agent is told to measure, by number; the connection breaks before."""
    source.send(Read())
    until(source, "lost")
    until(source, "hello")
    assert heard(source)["command"] == "configure"
    source.send(Describe())
    found = []
    while (command := heard(source))["command"] != "describe":
        assert command["command"] == "measure"
        found.append((command.get("id"), Requested.from_json(command)))
    return found


def test_a_new_agent_is_requested_what_the_last_one_was(echo: Persistent) -> None:
    echo.open()
    assert commands.decode(json.dumps(heard(echo)).encode()) == LOOK
    request(echo, 1, FIRST)
    request(echo, 2, replace(FIRST, threshold_ns=7))
    until(echo, "ack"), until(echo, "ack"), until(echo, "ack")
    assert again(echo) == [(2, replace(FIRST, threshold_ns=7))], "as a whole, and once"


def test_what_was_refused_is_not_requested_again(echo: Persistent) -> None:
    echo.open()
    request(echo, 1, FIRST)
    request(echo, 2, REFUSED)
    until(echo, "error")
    assert again(echo) == [(2, FIRST)], "what the agent acknowledged last, by the last number"


def test_what_is_requested_without_a_connection_follows_what_was_measured(
    echo: Persistent,
) -> None:
    echo.open()
    request(echo, 1, FIRST)
    until(echo, "ack"), until(echo, "ack")
    echo.send(Read())
    until(echo, "lost")
    request(echo, 2, replace(REFUSED, threshold_ns=6))
    request(echo, 3, REFUSED)
    with pytest.raises(VmlatError, match="no connection"):
        echo.send(Describe())
    until(echo, "hello")
    assert heard(echo)["command"] == "configure"
    for number, requested in ((None, FIRST), (3, REFUSED)):
        command = heard(echo)
        assert (command.get("id"), Requested.from_json(command)) == (number, requested)
    until(echo, "error")
    assert again(echo) == [(3, FIRST)], "the new agent refused the rest"


def test_what_a_new_agent_refuses_altogether_is_given_up(echo: Persistent) -> None:
    echo.open()
    echo.send(Read())
    until(echo, "lost")
    request(echo, 1, REFUSED)
    until(echo, "hello")
    assert heard(echo)["command"] == "configure"
    assert Requested.from_json(heard(echo)) == REFUSED
    until(echo, "error")
    assert again(echo) == []


@pytest.mark.parametrize("connected", [True, False])
def test_a_new_agent_does_not_measure_what_was_released(echo: Persistent, connected: bool) -> None:
    echo.open()
    request(echo, 1, FIRST)
    until(echo, "ack"), until(echo, "ack")
    request(echo, 2, replace(FIRST, threshold_ns=7))  # not yet answered
    if connected:
        echo.send(Release())
    echo.send(Read())
    until(echo, "lost")
    if not connected:
        echo.send(Release())
    until(echo, "hello")
    assert heard(echo)["command"] == "configure"
    request(echo, 3, Requested(("vnet1",)))
    command = heard(echo)
    assert (command["id"], Requested.from_json(command)) == (3, Requested(("vnet1",)))


def test_a_host_that_is_known_to_have_ended_is_not_tried_again(
    echo: Persistent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended() -> None:
        raise VmlatError("the machine has ended", "a panic")

    host = Host("far", (sys.executable, "-c", ECHO), far=True, check=ended)
    source = Persistent(host, LOOK)
    source.open()
    source.send(Read())
    with pytest.raises(VmlatError, match="the machine has ended"):
        until(source, "lost", 10)
    source.close()


# ---- the command line ---------------------------------------------------------------------------


def vmlat(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the program without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "vmlat_tui", *words],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_the_commands_show_another_host_as_they_show_this_one(far: FarHost) -> None:
    done = vmlat("topology", "--json", "--host", "hv1")
    assert done.returncode == 0 and json.loads(done.stdout)["host"], done.stderr
    assert "hv1" in far.arguments and far.empties()
    done = vmlat("--host", "hv1")
    assert done.returncode == 0 and "Linux" in done.stdout, done.stderr
    assert "connecting to hv1" in done.stderr and far.empties()


@pytest.mark.parametrize("words", [("--host", "hv1"), ("doctor", "--host", "hv1")])
def test_why_a_host_cannot_be_shown_is_one_line_and_harmless(
    far: FarHost, words: tuple[str, ...]
) -> None:
    far.says(255, "\x1b[31mhv1: Permission denied (publickey).")
    done = vmlat(*words)
    assert done.returncode == 2 and done.stdout == ""
    error = done.stderr.splitlines()[-1]
    assert "hv1 does not let you in" in error and "`ssh hv1`" in error
    assert "\x1b" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [("--host", "-x"), ("--host=-oProxyCommand=x",), ("--sudo",), ("--host", "h", "--lab"),
     ("--host", "h", "--replay", "f"), ("trace", "--host", "a b"), ("doctor", "--sudo")],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(words: tuple[str, ...]) -> None:
    done = vmlat(*words)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr


def test_on_this_host_nothing_is_classified_as_a_refusal() -> None:
    assert hosts.refusal(hosts.here(), 255, "Permission denied (publickey).") is None
