"""A topology survives the way through JSON, and nothing else passes for one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from vmlat_tui.model.topology import (
    Address,
    Backend,
    Cpu,
    Domain,
    DomainState,
    HaltPolling,
    Hop,
    IdleState,
    Interface,
    Irq,
    Known,
    Neighbour,
    Ovs,
    OvsBridge,
    OvsInterface,
    OvsPort,
    Qdisc,
    Thread,
    ThreadUse,
    Topology,
    Vcpu,
    Vitals,
    Vnic,
    Way,
    Worker,
)

THREAD = Thread(11, "vhost-[red]x", 3, (0, 3), "other", 0)
TOPOLOGY = Topology(
    t_ns=5,
    host="h",
    kernel="6.1",
    cpus=(Cpu(0, True, 0, 0, None, (0, 1), False, "performance", None,
              (IdleState("C1", 2, 2, False, 10, 400),)),),
    domains=(Domain("vm\x1b[2J", None, Known.LIBVIRT, DomainState.RUNNING, 10, 1 << 20, (0,),
                    (Vcpu(0, THREAD, True), Vcpu(1, None, False)),
                    (Vnic("vnet0", "52:54:00:77:00:0a", "virtio", Backend.VHOST, 2, 1500, "br0",
                          (Address("10.0.0.1", "arp"),)),),
                    (Worker(THREAD, True, ("vnet0/0",)),), ()),),
    interfaces=(Interface("vnet0", 4, "tun", None, 1500, True, None, "ovs-system", (), None, None,
                          None, 1000, None, {"vlan": 7, "mode": "x", "on": True}, {"rx": 1}, {},
                          {"tso": False}, (Qdisc("fq", "0:", "root", 0, 0, 0, 0),),
                          (Irq(30, "eth0-0", (0,), ()),)),),
    ovs=Ovs("running", "3.1", (OvsBridge("br0", "system", (OvsPort("p", None, (1, 2), None, None,
            None, (OvsInterface("p", "patch", 1, "q", {"peer": "q"}, {}),)),)),)),
    ways=(Way("vnet0", (Hop("vnet0", "tap"), Hop("br0", "port")), ("phy0",), None),),
    halt_polling=HaltPolling(200000, 2, None, 0),
    busy_poll_us={"vnet0": 0},
    notes=("no agent",),
)  # fmt: skip
VITALS = Vitals(
    9, (ThreadUse(11, 3, 100, None, 1, 2),), (Neighbour(3, 12, "x", 5),),
    {"vm": {"halt_wakeup": 3}}, {"vnet0": {"rx_packets": 1}}, {"0": {"C1": 4}},
)  # fmt: skip


def test_what_an_older_version_did_not_write_has_its_default() -> None:
    stopped = replace(VITALS, threads=(replace(VITALS.threads[0], stopped=True),))
    written = stopped.to_json()
    assert Vitals.from_json(written) == stopped
    del written["threads"][0]["stopped"]
    assert Vitals.from_json(written) == VITALS


def test_both_come_back_from_json_unchanged() -> None:
    assert Topology.from_json(json.loads(json.dumps(TOPOLOGY.to_json()))) == TOPOLOGY
    assert Vitals.from_json(json.loads(json.dumps(VITALS.to_json()))) == VITALS


def test_interfaces_and_domains_are_found_by_name() -> None:
    found = TOPOLOGY.interface("vnet0")
    assert found and found.ifindex == 4 and TOPOLOGY.interface("x") is None
    domain = TOPOLOGY.domain_of("vnet0")
    assert domain and domain.pid == 10 and TOPOLOGY.domain_of("") is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["t_ns"], "5"),
        (["t_ns"], True),
        (["kernel"], None),
        (["cpus"], {}),
        (["cpus", 0, "online"], 1),
        (["domains", 0, "state"], "weird"),
        (["domains", 0, "vcpus", 1, "thread"], 7),
        (["interfaces", 0, "details", "vlan"], 1.5),
        (["ovs"], None),
        (["t_ns"], 1 << 64),
    ],
)
def test_what_is_no_topology_is_refused(path: list[Any], value: Any) -> None:
    data = json.loads(json.dumps(TOPOLOGY.to_json()))
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValueError):
        Topology.from_json(data)


def test_a_missing_field_is_refused() -> None:
    data = TOPOLOGY.to_json()
    del data["ways"]
    with pytest.raises(ValueError, match="ways"):
        Topology.from_json(data)
