"""The agent that discovers, and may measure later."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import command
from tests.support.frames import next_object, typed
from vmlat_tui import log
from vmlat_tui.errors import VmlatError
from vmlat_tui.model.topology import Topology, Vitals
from vmlat_tui.protocol.commands import Configure, Log, Stop
from vmlat_tui.protocol.frames import as_hello
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.transport.process import AgentProcess

LIMIT_S = 30.0


@pytest.fixture
def agent() -> Iterator[AgentProcess]:
    with AgentProcess() as running:
        running.send(
            command(
                "configure",
                measure=False,
                discover=True,
                interval_s=0.1,
                connect="qemu+unix:///system?socket=/nonexistent",
            )
        )
        hello = next_object(running, LIMIT_S)
        assert hello is not None
        as_hello(typed(hello))
        assert (hello["rung"], hello["offsets"], hello["points"]) == (None, None, [])
        yield running


def wait(agent: AgentProcess, kind: str) -> Raw:
    while True:
        frame = next_object(agent, LIMIT_S)
        assert frame is not None, kind
        if frame["type"] == kind:
            return frame


def test_topology_and_vitals_come_without_a_measurement(agent: AgentProcess) -> None:
    topology = Topology.from_json(wait(agent, "topology"))
    assert topology.interface("lo")
    first, second = (Vitals.from_json(wait(agent, "vitals")) for _ in range(2))
    assert first.t_ns < second.t_ns


@pytest.mark.parametrize(
    ("command", "fields", "words"),
    [
        ("measure", {"vm_interfaces": ["no such"]}, "no such interface"),
        ("measure", {"vm_interfaces": 5}, "is wrong"),
        ("measure", {"filters": [{"protocol": "x"}]}, ""),
        ("measure", {"threshold_ns": -1}, "threshold_ns"),
        ("read", {}, "nothing is measured yet"),
        ("watch", {}, "no such command"),
        ("release", {}, "nothing is measured yet"),
    ],
)
def test_a_command_that_fails_leaves_discovery_running(
    agent: AgentProcess, command: str, fields: dict[str, object], words: str
) -> None:
    line = json.dumps({"command": command, "id": 7, **fields}).encode()
    agent._outgoing += line + b"\n"
    error = wait(agent, "error")
    assert error["id"] == 7
    said = f"{error['title']} {error['cause']}"
    assert words in said or (os.geteuid() != 0 and "CAP_BPF" in said)
    wait(agent, "vitals")


def test_it_ends_when_told_to(agent: AgentProcess) -> None:
    agent.send(Stop(1))
    assert wait(agent, "ack")["id"] == 1


def test_without_either_there_is_only_hello() -> None:
    with AgentProcess() as quiet:
        quiet.send(command("configure", measure=False))
        hello = next_object(quiet, LIMIT_S)
        assert hello is not None and hello["type"] == "hello"
        assert next_object(quiet, 0.3) is None


@pytest.mark.parametrize(
    "uri", ["qemu+ext:///system?command=/tmp/x", "qemu+ssh://h/system", "qemu://h/system",
            "qemu:///system?command=x", "x" * 5000, 5, ["qemu:///system"], "qemu:///system\n"],
)  # fmt: skip
def test_only_a_libvirt_of_this_host_is_connected_to(uri: object) -> None:
    """Others are reached by programs, which would run with what the agent may."""
    with AgentProcess() as refused:
        line = json.dumps({"command": "configure", "measure": False, "connect": uri}).encode()
        refused._outgoing += line + b"\n"
        with pytest.raises(VmlatError, match="no libvirt of this host"):
            next_object(refused, LIMIT_S)


def test_what_is_no_command_does_not_end_it(agent: AgentProcess) -> None:
    for line in (b"x", b"[]", b'{"command":["stop"]}', b"[" * 100_000, b'{"command":"dance"}',
                 b'{"command":"measure","vm_interfaces":[[]]}'):  # fmt: skip
        agent._outgoing += line + b"\n"
        error = wait(agent, "error")
        assert error["id"] is None and error["exit_status"] == 2
    agent.send(Configure(id=8))
    assert "configured already" in wait(agent, "error")["title"]
    wait(agent, "vitals")


def test_a_log_does_not_touch_the_frames(tmp_path: Path) -> None:
    """The agent says what it does beside its frames, and not that it was told to."""
    path = tmp_path / "log"
    with log.written("debug", path), AgentProcess() as running:
        running.send(command("configure", measure=False, discover=True, connect="qemu:///nobody"))
        hello = next_object(running, LIMIT_S)
        assert hello is not None and hello["type"] == "hello"
        wait(running, "topology")
        running._outgoing += b'{"command":"log","level":"loud","id":5}\n'
        error = wait(running, "error")
        assert error["id"] == 5 and "level" in error["cause"]
        running.send(Log("info"))
        running.send(Stop(7))
        assert wait(running, "ack")["id"] == 7
    text = path.read_text()
    said = (
        f"agent {hello['agent']} of vmlat ",
        "command configure, id None",
        "a look took ",
        "command 'log' is wrong",
        "everything is detached",
        "ended: exit status 0",
    )
    assert [words for words in said if words not in text] == []
    assert '"type"' not in text
    assert " DEBUG vmlat_tui.agent.agent: " not in text[text.index("command 'log' is wrong") :]
