"""Discovery against real libvirt, Open vSwitch, QEMU and netlink: it finds what they say."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.lab.measure import Lab, Switch
from vmlat_tui.commands.topology import ask
from vmlat_tui.export.topology_text import text
from vmlat_tui.lab import scenarios
from vmlat_tui.model.topology import Backend, Domain, DomainState, Interface, Known, Topology

NET = Path("/sys/class/net")
#: vhost workers are threads of QEMU from this kernel on.
OWN_THREADS = (6, 4)


def run(line: str) -> str:
    """Output of a program."""
    done = subprocess.run(
        shlex.split(line), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
    )
    output = done.stdout.decode()
    assert done.returncode == 0, f"{line}: {output}"
    return output


def tool(line: str) -> Any:
    """Output of a program that speaks JSON."""
    return json.loads(run(line) or "[]")


def table(name: str) -> dict[str, dict[str, Any]]:
    """A table of Open vSwitch's database by name, as ovs-vsctl shows it."""
    shown = tool(f"ovs-vsctl --timeout=20 --format=json list {name}")
    rows = [dict(zip(shown["headings"], row)) for row in shown["data"]]
    return {row["name"]: row for row in rows}


def members(value: Any) -> list[Any]:
    """A set of the database as a list."""
    is_set = isinstance(value, list) and value[0] == "set"
    return list(value[1]) if is_set else [value]


@pytest.mark.parametrize("name", scenarios.ALONE)
def test_every_field_is_what_the_systems_own_tools_say(name: str, scenario: Switch) -> None:
    lab = scenario(name)
    topology = ask(None)
    assert topology.host == os.uname().nodename and topology.kernel == os.uname().release
    check_domains(lab, topology)
    check_interfaces(topology)
    check_ovs(lab, topology)
    check_ways(lab, topology)
    check_host(topology)
    assert topology.notes == (), topology.notes
    shown = text(topology)
    for vm in lab.vms.values():
        assert vm.name in shown and vm.ip4 in shown
    assert max(map(len, shown.splitlines())) <= 100


# ---- VMs ----------------------------------------------------------------------------------------


def check_domains(lab: Lab, topology: Topology) -> None:
    names = run("virsh -q list --all --name").split()
    assert [d.name for d in topology.domains] == sorted(names) == sorted(lab.vms)
    for domain in topology.domains:
        check_domain(lab, domain)


def check_domain(lab: Lab, domain: Domain) -> None:
    info = dict(
        line.split(":", 1) for line in run(f"virsh dominfo {domain.name}").splitlines() if line
    )
    assert domain.known is Known.LIBVIRT
    assert domain.uuid == info["UUID"].strip()
    assert domain.state is DomainState(info["State"].strip())
    assert domain.memory_kb == int(info["Max memory"].split()[0])
    pid = int(Path(f"/run/libvirt/qemu/{domain.name}.pid").read_text())
    assert domain.pid == pid
    assert domain.memory_nodes == nodes_of(pid)
    check_threads(lab, domain, pid)
    check_vnic(lab, domain)


def nodes_of(pid: int) -> tuple[int, ...]:
    found = re.findall(r" N(\d+)=", Path(f"/proc/{pid}/numa_maps").read_text())
    return tuple(sorted(set(map(int, found))))


def check_threads(lab: Lab, domain: Domain, pid: int) -> None:
    cpus = run(f"virsh qemu-monitor-command {domain.name} --hmp info cpus")
    tids = {int(n): int(t) for n, t in re.findall(r"CPU #(\d+): thread_id=(\d+)", cpus)}
    assert {v.number: v.thread.tid for v in domain.vcpus if v.thread} == tids
    workers = {
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/task/[0-9]*/comm")
        if path.read_text() == f"vhost-{pid}\n"
    }
    assert {w.thread.tid for w in domain.workers} == workers
    vm = scenarios.scenario(lab.scenario).domains[list(lab.vms).index(domain.name)]
    tap = lab.vms[domain.name].vnet
    expected = [(f"{tap}/{n}",) for n in range(vm.queues)] if vm.vhost else []
    assert [w.queues for w in domain.workers] == expected
    kernel = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2]))
    assert all(w.kernel_thread == (kernel < OWN_THREADS) for w in domain.workers)
    own = {int(p.name) for p in Path(f"/proc/{pid}/task").iterdir()}
    listed = {t.tid for t in domain.emulator}
    passing = {t.tid for t in domain.emulator if t.name == "worker"}
    assert listed - passing <= own and pid in listed
    assert not listed & (workers | set(tids.values()))
    for thread in [
        *(v.thread for v in domain.vcpus if v.thread),
        *(w.thread for w in domain.workers),
        *(t for t in domain.emulator if t.tid not in passing),
    ]:
        assert set(thread.cpus) == os.sched_getaffinity(thread.tid)
        assert thread.policy == "other" and os.sched_getscheduler(thread.tid) == os.SCHED_OTHER
        assert thread.priority == os.getpriority(os.PRIO_PROCESS, thread.tid)
        assert thread.name == Path(f"/proc/{thread.tid}/comm").read_text()[:-1]
        assert thread.cpu in range(os.cpu_count() or 1)


def check_vnic(lab: Lab, domain: Domain) -> None:
    rows = [line.split() for line in run(f"virsh -q domiflist {domain.name}").splitlines() if line]
    found = [(v.tap, v.source, v.model, v.mac) for v in domain.vnics]
    assert found == [(tap, source, model, mac) for tap, _, source, model, mac in rows]
    addresses = set(
        re.findall(r"ipv[46] +(\S+)/", run(f"virsh domifaddr {domain.name} --source agent"))
    )
    (vnic,) = domain.vnics
    assert vnic.tap and vnic.mac == lab.vms[domain.name].mac
    vm = scenarios.scenario(lab.scenario).domains[list(lab.vms).index(domain.name)]
    assert vnic.backend is (Backend.VHOST if vm.vhost else Backend.QEMU)
    assert vnic.queues == vm.queues == len(list((NET / vnic.tap / "queues").glob("rx-*")))
    assert vnic.mtu == int((NET / vnic.tap / "mtu").read_text())
    mine = [a for a in vnic.addresses if a.source == "agent"]
    assert {a.ip for a in mine} == addresses - {"127.0.0.1", "::1"}
    assert lab.vms[domain.name].ip4 in {a.ip for a in mine}


# ---- interfaces ---------------------------------------------------------------------------------


def check_interfaces(topology: Topology) -> None:
    links = {link["ifname"]: link for link in tool("ip -d -j -s link show")}
    assert {i.name for i in topology.interfaces} == set(links)
    qdiscs = tool("tc -j -s qdisc show")
    for interface in topology.interfaces:
        check_link(interface, links[interface.name])
        check_device(interface)
        mine = [q for q in qdiscs if q.get("dev") == interface.name]
        assert [(q.kind, q.handle, q.parent) for q in interface.qdiscs] == [
            (q["kind"], q["handle"], q.get("parent", "root")) for q in mine
        ]
        for ours, theirs in zip(interface.qdiscs, mine):
            assert ours.drops <= theirs["drops"]


def check_link(interface: Interface, link: dict[str, Any]) -> None:
    info = link.get("linkinfo", {})
    kind = info.get("info_kind")
    if kind is None:
        kind = "loopback" if link["link_type"] == "loopback" else "device"
    assert (interface.kind, interface.ifindex) == (kind, link["ifindex"])
    assert (interface.mac, interface.mtu) == (link["address"], link["mtu"])
    assert interface.master == link.get("master")
    assert interface.queue_length == link.get("txqlen", interface.queue_length)
    assert interface.up == ("UP" in link["flags"])
    assert interface.carrier == (("LOWER_UP" in link["flags"]) if interface.up else None)
    received = interface.statistics["rx_packets"]
    assert 0 <= received <= link["stats64"]["rx"]["packets"]
    lowers = {p.name[len("lower_") :] for p in (NET / interface.name).glob("lower_*")}
    assert set(interface.lowers) == lowers
    check_details(interface, link, info.get("info_data", {}))


def check_details(interface: Interface, link: dict[str, Any], data: dict[str, Any]) -> None:
    facts = interface.details
    if interface.kind == "vlan":
        assert (facts["id"], facts["protocol"]) == (data["id"], data["protocol"])
        assert facts["link"] == link["link"]
    elif interface.kind == "vxlan":
        assert (facts["id"], facts["port"]) == (data["id"], data["port"])
        assert facts.get("remote") == data.get("remote", data.get("remote6"))
        assert facts.get("link") == data.get("link")
    elif interface.kind == "bond":
        assert (facts["mode"], facts["miimon"]) == (data["mode"], data["miimon"])
        assert facts.get("active_member") == data.get("active_slave")
    elif interface.kind == "bridge":
        assert facts["stp"] == bool(data["stp_state"])
        assert facts["vlan_filtering"] == bool(data["vlan_filtering"])
    elif interface.kind == "tun":
        assert facts["type"] == data["type"]
    elif interface.kind == "veth" and "link_netnsid" not in link:
        assert facts["peer"] == link["link"]


def check_device(interface: Interface) -> None:
    driver = re.search(r"driver: (\S+)", run(f"ethtool -i {interface.name}")) \
        if interface.kind == "device" else None  # fmt: skip
    assert interface.driver == (driver.group(1) if driver else None)
    features = dict(
        re.findall(r"^\t?([\w-]+): (on|off)", run(f"ethtool -k {interface.name}"), re.MULTILINE)
    )
    features["rx-gro"] = features["generic-receive-offload"]
    for feature in ("rx-gro", "tx-scatter-gather", "tx-tcp-segmentation", "hw-tc-offload"):
        assert interface.offloads.get(feature, False) == (features[feature] == "on"), feature
    done = subprocess.run(["ethtool", "-c", interface.name], stdout=subprocess.PIPE, timeout=30,
                          stderr=subprocess.DEVNULL)  # fmt: skip
    shown = dict(re.findall(r"^([\w-]+): +(\d+)", done.stdout.decode(), re.MULTILINE))
    for key, value in interface.coalescing.items():
        assert int(shown.get(key, value)) == value, key
    if interface.kind == "device":
        assert interface.irqs or not interface.up
        interrupts = Path("/proc/interrupts").read_text()
        for irq in interface.irqs:
            row = re.search(rf"^ *{irq.number}:.*$", interrupts, re.MULTILINE)
            assert row and irq.name and row.group(0).endswith(irq.name)
            where = Path(f"/proc/irq/{irq.number}")
            affinity = (where / "smp_affinity_list").read_text().strip()
            assert ",".join(map(str, irq.cpus)) == affinity.replace("0-1", "0,1")
            effective = (where / "effective_affinity_list").read_text().strip()
            assert ",".join(map(str, irq.effective)) == effective.replace("0-1", "0,1")


# ---- Open vSwitch, ways, host -------------------------------------------------------------------


def check_ovs(lab: Lab, topology: Topology) -> None:
    assert topology.ovs.state == "running"
    bridges, ports, interfaces = table("Bridge"), table("Port"), table("Interface")
    assert {b.name for b in topology.ovs.bridges} == set(bridges)
    expected = {lab.bridge} if scenarios.scenario(lab.scenario).openvswitch else set()
    assert set(bridges) == expected
    for bridge in topology.ovs.bridges:
        listed = run(f"ovs-vsctl --timeout=20 list-ports {bridge.name}").split()
        assert [p.name for p in bridge.ports] == sorted([*listed, bridge.name])
        assert bridge.datapath == (bridges[bridge.name]["datapath_type"] or "system")
        for port in bridge.ports:
            row = ports[port.name]
            assert [port.tag] == (members(row["tag"]) or [None])
            assert [port.vlan_mode] == (members(row["vlan_mode"]) or [None])
            assert list(port.trunks) == sorted(members(row["trunks"]))
            names = run(f"ovs-vsctl --timeout=20 list-ifaces {bridge.name}").split()
            for one in port.interfaces:
                assert one.name in [*names, bridge.name]
                theirs = interfaces[one.name]
                assert one.kind == (theirs["type"] or "system")
                assert one.ofport == theirs["ofport"]
                assert one.options == dict(theirs["options"][1])
                assert one.external_ids == dict(theirs["external_ids"][1])


def check_ways(lab: Lab, topology: Topology) -> None:
    uplink: Optional[str] = lab.uplink
    hops = [lab.bridge, lab.uplink]
    if lab.uplink == "bond0":
        uplink = (NET / "bond0/bonding/active_slave").read_text().strip()
        hops.append(uplink)
    assert [w.tap for w in topology.ways] == sorted(vm.vnet or "" for vm in lab.vms.values())
    for way in topology.ways:
        assert [hop.device for hop in way.hops] == [way.tap, *hops]
        assert all(hop.reason for hop in way.hops)
        assert (way.uplinks, way.choice) == ((uplink,), None)


def check_host(topology: Topology) -> None:
    parameters = Path("/sys/module/kvm/parameters")
    halt = topology.halt_polling
    found = (halt.halt_poll_ns, halt.grow, halt.grow_start_ns, halt.shrink)
    names = ("halt_poll_ns", "halt_poll_ns_grow", "halt_poll_ns_grow_start", "halt_poll_ns_shrink")
    assert found == tuple(int((parameters / name).read_text()) for name in names)
    rows = run("lscpu -a -p=CPU,CORE,SOCKET,NODE,ONLINE").splitlines()
    theirs = [row.split(",") for row in rows if not row.startswith("#")]
    assert [[str(c.number), str(c.package), "Y" if c.online else "N"] for c in topology.cpus] == [
        [cpu, socket, online] for cpu, _, socket, _, online in theirs
    ]
    assert [c.node for c in topology.cpus] == [int(row[3] or 0) for row in theirs]
    assert not any(c.isolated for c in topology.cpus)


# ---- devices of every kind ----------------------------------------------------------------------


@pytest.fixture
def devices() -> Iterator[None]:
    """VLAN, VXLAN and veth devices, one veth into the remote namespace."""
    lines = [
        "ip link add link phy1 name vl7 type vlan id 7",
        "ip link add link phy1 name vl8 type vlan protocol 802.1ad id 8",
        "ip link add vx9 type vxlan id 9 remote 192.0.2.1 dstport 4789 dev phy1",
        "ip link add vp0 type veth peer name vp1",
        "ip link add vr0 type veth peer name vr1",
        f"ip link set vr1 netns {scenarios.REMOTE_NS}",
        "ip link add link phy1 name mv0 type macvlan mode bridge",
        "ip tuntap add tapx mode tap",
        "ip link add br9 type bridge stp_state 1 vlan_filtering 1",
        "ip link set vl7 master br9",
        "ip link set tapx master br9",
        "tc qdisc replace dev phy1 root handle 42: htb default 1",
    ]
    for line in lines:
        run(line)
    yield
    run("tc qdisc del dev phy1 root")
    for name in ("vl7", "vl8", "vx9", "vp0", "vr0", "mv0", "tapx", "br9"):
        run(f"ip link del {name}")


@pytest.mark.scenario("bridge")
def test_devices_of_every_kind(lab: Lab, devices: None) -> None:
    topology = ask(None)
    check_interfaces(topology)
    found = {i.name: i for i in topology.interfaces}
    assert found["vr0"].peer_namespace == scenarios.REMOTE_NS
    assert found["vp0"].details["peer"] == "vp1" and found["vp0"].peer_namespace is None
    assert found["vl8"].details["protocol"] == "802.1ad"
    assert found["mv0"].details == {"link": "phy1", "mode": "bridge"}
    assert [(q.kind, q.handle, q.parent) for q in found["phy1"].qdiscs] == [("htb", "42:", "root")]
    (way,) = [w for w in topology.ways if w.tap == "tapx"]
    assert [hop.device for hop in way.hops] == ["tapx", "br9", "vl7", "phy1"]
    assert way.uplinks == ("phy1",)


@pytest.fixture
def two_bridges(scenario: Switch) -> Iterator[Lab]:
    """The uplink on a second Open vSwitch bridge behind patch ports, and a tunnel there."""
    lab = scenario("ovs")
    vnet = lab.vms["vm-a"].vnet
    run(
        f"ovs-vsctl --timeout=30 del-port br0 phy0 -- add-br br-phys -- add-port br-phys phy0"
        f" -- set port phy0 trunks=7,9 -- set port {vnet} tag=7"
        " -- add-port br0 p0 -- set interface p0 type=patch options:peer=p1"
        " -- add-port br-phys p1 -- set interface p1 type=patch options:peer=p0"
        " -- add-port br0 vx0 tag=9"
        " -- set interface vx0 type=vxlan options:remote_ip=192.0.2.9 external_ids:x=y"
    )
    yield lab
    run(f"ovs-vsctl --timeout=30 del-br br-phys -- del-port br0 p0 -- del-port br0 vx0"
        f" -- add-port br0 phy0 -- clear port {vnet} tag")  # fmt: skip


def test_patch_ports_trunks_and_tunnels(two_bridges: Lab) -> None:
    topology = ask(None)
    ports = {port.name: port for bridge in topology.ovs.bridges for port in bridge.ports}
    assert ports["phy0"].trunks == (7, 9) and ports["vx0"].tag == 9
    assert ports["p0"].interfaces[0].peer == "p1"
    tunnel = ports["vx0"].interfaces[0]
    assert (tunnel.kind, tunnel.options["remote_ip"]) == ("vxlan", "192.0.2.9")
    assert tunnel.external_ids == {"x": "y"}
    (way,) = topology.ways
    vnet = two_bridges.vms["vm-a"].vnet
    assert [hop.device for hop in way.hops] == [vnet, "br0", "p0", "br-phys", "phy0"]
    assert way.uplinks == ("phy0",)
    assert "VLAN 7" in way.hops[1].reason and "patch to p1" in way.hops[2].reason
