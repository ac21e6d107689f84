"""Another host over ssh, as a user has it: the agent travels, measures, and outlives a cut line."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.measure import Lab, Remote
from tests.lab.test_life import ping, probes_left
from tests.support.commands import command
from vmlat_tui.protocol.commands import Configure
from vmlat_tui.session.history import History
from vmlat_tui.session.snapshot import Phase, Snapshot
from vmlat_tui.transport.hosts import reached_by_ssh
from vmlat_tui.transport.persistent import Persistent

_CONFIG = """
Host hv1
    HostName 10.0.2.15
    User root
    IdentityFile {directory}/key
    UserKnownHostsFile {directory}/known_hosts
Host far
    HostName 10.0.2.15
    User root
    IdentityFile {directory}/key
    UserKnownHostsFile {directory}/known_hosts
    ProxyJump hv1
"""


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's ssh, with a configuration of our own."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    with open("/lab/authorized_keys", "a", encoding="ascii") as keys:
        keys.write(key.with_suffix(".pub").read_text())
    host_key = Path("/lab/host_key.pub")
    known = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(host_key.with_suffix(""))],
        stdout=subprocess.PIPE, check=True,
    ).stdout.decode()  # fmt: skip
    (tmp_path / "known_hosts").write_text(f"10.0.2.15 {known}")
    (tmp_path / "config").write_text(_CONFIG.format(directory=tmp_path))
    program = tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {tmp_path}/config "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


class Watcher:
    """What the screens would know."""

    def __init__(self, host: str) -> None:
        self.source = Persistent(reached_by_ssh(host), Configure(discover=True, measure=False))
        self.history = History()

    @property
    def now(self) -> Snapshot:
        """The newest moment."""
        return self.history.moments()[-1]

    def wait(self, condition: Callable[[Snapshot], object], what: str) -> None:
        """Until it has come true."""
        end = time.monotonic() + 90
        while not condition(self.now):
            assert time.monotonic() < end, f"waited for {what}: {self.now}"
            frame = self.source.next(0.5)
            if frame is not None:
                self.history.take(frame)

    def total(self) -> int:
        """Packets that went into the guest, by this agent."""
        stats = self.now.stats
        totals = stats.totals.counted if stats and stats.totals else {}
        return sum(h.count for (_, leg), h in totals.items() if leg == "rx:total")


def parent(pid: int) -> int:
    """Of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def left() -> list[str]:
    """What an agent that travelled has left."""
    return [*probes_left(), *map(str, Path("/tmp").glob("vmlat-*"))]


def leaves_nothing() -> None:
    """Soon."""
    end = time.monotonic() + 20
    while left() and time.monotonic() < end:
        time.sleep(0.2)
    assert not left()


@pytest.mark.scenario("ovs")
def test_the_agent_travels_looks_around_and_leaves_nothing(lab: Lab, configured: None) -> None:
    watcher = Watcher("far")
    try:
        watcher.source.open()
        assert list(Path("/tmp").glob("vmlat-*"))
        watcher.wait(lambda now: now.topology, "the topology")
        topology = watcher.now.topology
        assert topology and lab.vms["vm-a"].vnet in [
            vnic.tap for domain in topology.domains for vnic in domain.vnics
        ]
    finally:
        watcher.source.close()
    leaves_nothing()


@pytest.mark.once
@pytest.mark.scenario("ovs")
def test_a_measurement_comes_back_after_the_connection_was_cut(
    lab: Lab, remote: Remote, configured: None
) -> None:
    vm = lab.vms["vm-a"]
    watcher = Watcher("hv1")
    try:
        watcher.source.open()
        requested: dict[str, Any] = {"vm_interfaces": [vm.vnet], "filters": [{"protocol": "icmp"}]}
        watcher.source.send(command("measure", **requested))
        watcher.wait(lambda now: now.stats, "the first figures")
        answered = ping(remote, vm.ip4, 20)
        watcher.wait(lambda now: watcher.total() >= answered, "the packets")
        assert watcher.now.measuring and watcher.now.measuring.rung == "full"
        assert watcher.now.hello
        agent = int(watcher.now.hello.agent or 0)
        # The agent's parent is the bootstrap, whose parent is the login of sshd.
        os.kill(parent(parent(agent)), signal.SIGKILL)
        watcher.wait(lambda now: now.phase is Phase.LOST, "the loss to be known")
        watcher.wait(lambda now: now.phase is Phase.WATCHING, "another agent")
        watcher.wait(lambda now: now.stats, "its first figures")
        again = ping(remote, vm.ip4, 10)
        watcher.wait(lambda now: watcher.total() >= again, "the packets after the cut")
        assert watcher.total() < answered, "a new agent begins at zero"
        moments = watcher.history.moments()
        agents = [m.hello.agent or 0 for m in moments if m.hello]
        assert agent in agents and agents[-1] != agent, "what was known before is kept"
        assert all(a.t_ns <= b.t_ns for a, b in zip(moments, moments[1:]))
    finally:
        watcher.source.close()
    leaves_nothing()
