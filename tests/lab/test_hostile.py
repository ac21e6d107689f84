"""Two hundred hostile processes of another user, and a real guest that is measured meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.measure import Lab, Remote, Session, check_sums, measured
from tests.lab.test_path import Range, ping
from tests.support.hostile import CASES, Crowd
from vmlat_tui.commands.topology import ask
from vmlat_tui.discover.watch import steady
from vmlat_tui.model.topology import Topology

#: The agent looks for vCPUs every ten seconds, and this machine is emulated.
_LOOKED_S = 15.0


def row(topology: Topology, name: str, vnet: str) -> Any:
    """Everything of one VM, less what changes all the time."""
    known = topology.to_json()
    domains = [steady(d) for d in known["domains"] if d["name"] == name]
    return domains, [way for way in known["ways"] if way["tap"] == vnet]


def vcpus(session: Session) -> set[int]:
    """The threads that the agent takes for vCPUs."""
    return {w["tid"] for w in session.result.stats["wakeups"] if w["role"] == "vcpu"}


def echoes(session: Session, sent: Range, before: dict[str, int]) -> dict[str, int]:
    """How many packets came of each direction, after some that were there before."""
    session.pump(3)
    now = {name: len(session.result.direction(name)) for name in ("tx", "rx")}
    for name, number in now.items():
        assert sent.low <= number - before.get(name, 0) <= sent.high, (name, now, before, sent)
    return now


@pytest.mark.once
@pytest.mark.scenario("ovs")
def test_the_figures_of_a_guest_are_what_they_are_without_a_hostile_crowd(
    lab: Lab, remote: Remote
) -> None:
    vm, vnet = lab.vms["vm-a"], str(lab.vms["vm-a"].vnet)
    alone = ask(None)
    (honest,) = [domain for domain in alone.domains if domain.name == vm.name]
    threads = {v.thread.tid for v in honest.vcpus if v.thread}
    ping(remote, vm.ip4, 3)
    with measured(filters=[{"protocol": "icmp"}]) as session:
        before = echoes(session, ping(remote, vm.ip4, 30), {})
        assert vcpus(session) == threads
        with Crowd(200, vnet, vm.name, str(honest.uuid)) as crowd:
            session.pump(_LOOKED_S)
            echoes(session, ping(remote, vm.ip4, 30), before)
            assert vcpus(session) == threads, "all of them, and nobody else's"
            beside = ask(None)
            assert len(crowd.processes) == 200 > len(CASES) + 10
            assert all(process.poll() is None for process in crowd.processes)
    check_sums(session.result)
    assert row(beside, vm.name, vnet) == row(alone, vm.name, vnet)
    words = "are in another network namespace"
    assert any(words in note for note in beside.notes), beside.notes
    strangers = {domain.pid for domain in beside.domains} - {domain.pid for domain in alone.domains}
    assert strangers <= {process.pid for process in crowd.processes[:10]}, "who hold nothing"
