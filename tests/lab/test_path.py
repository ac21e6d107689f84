"""Every stage between tap and wire, both ways, on every switch, tag and back end."""

from __future__ import annotations

import re
import subprocess
from typing import NamedTuple

import pytest

from tests.lab.measure import (
    Completed,
    Guest,
    Lab,
    Raw,
    Remote,
    Result,
    Switch,
    Vm,
    check_sums,
    check_unseen,
    leg_ns,
    measured,
    stages,
)
from tests.lab.running import Measuring
from vmlat_tui.errors import UsageError

#: Of test_vhost.py.
GUEST_SIDE = {
    *(
        "guest_exit",
        "guest_kick",
        "vhost_woken",
        "vhost_on_cpu",
        "vhost_tx",
        "vhost_take",
        "vhost_signal",
    ),
    *("eventfd", "irqfd", "irq_accept", "vcpu_woken", "vcpu_on_cpu", "guest_entry"),
}
OVS_TX = ["tun_in", "vnet_rx", "switch_in", "ovs_dp", "switch_out", "phy_queue", "phy_xmit"]
OVS_RX = ["phy_rx", "switch_in", "ovs_dp", "switch_out", "vnet_queue", "tun_out"]
BRIDGE_TX = [point for point in OVS_TX if point != "ovs_dp"]
BRIDGE_RX = [point for point in OVS_RX if point != "ovs_dp"]
UPCALL = {"ovs_upcall", "ovs_reinject"}


def plain(packet: Raw) -> list[str]:
    """Its points between tap and wire without the optional ones."""
    return [p for p in stages(packet) if p not in UPCALL | GUEST_SIDE and p != "phy_gro"]


def check_paths(result: Result, packets: list[Raw], path: list[str]) -> None:
    """Each packet passed these points."""
    short = [packet for packet in packets if plain(packet) != path]
    for packet in short:
        points = iter(path)
        assert all(point in points for point in plain(packet)), packet
    check_unseen(result, packets, short)


def functions(packet: Raw) -> dict[str, str]:
    return {stage["point"]: stage["function"] for stage in packet["stages"]}


class Range(NamedTuple):
    """At least so many packets, and at most so many."""

    low: int
    high: int

    def __add__(self, other: object) -> Range:
        assert isinstance(other, Range)
        return Range(self.low + other.low, self.high + other.high)

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.low <= number <= self.high


def ping(remote: Remote, address: str, count: int) -> Range:
    """How many packets each way that makes: up to ``count``, and at least those answered.

    The emulated network loses one now and then when the machine is busy.
    """
    line = ["ping", "-n", "-q", "-c", str(count), "-i", "0.02", "-W", "5", address]
    done = remote(line, 120)
    found = re.search(r"(\d+) packets transmitted, (\d+) received", done.stdout.decode())
    assert found and int(found.group(1)) == count, done
    assert int(found.group(2)) >= 0.5 * count, done
    return Range(int(found.group(2)), count)


def echo_udp(remote: Remote, address: str, count: int = 64) -> Range:
    """The same of datagrams sent as one burst."""
    return echoed(remote(["traffic", "udp", address, "7001", str(count)], seconds=60), count)


def echoed(done: Completed, count: int) -> Range:
    """What ``traffic udp`` says about that."""
    found = re.match(rb"sent (\d+) received \d+ distinct (\d+) wrong 0", done.stdout)
    assert found and int(found.group(1)) == count, done
    assert int(found.group(2)) >= 0.5 * count, done
    return Range(int(found.group(2)), count)


def flow_packets(result: Result, direction: str, **wanted: object) -> int:
    """Packets of the flows whose fields are as wanted."""
    return sum(
        row["packets"]
        for row in result.stats["flows"]
        if row["direction"] == direction
        and all(row["flow"][field] == value for field, value in wanted.items())
    )


def check_loss_free(result: Result, expected: Range) -> None:
    """No packet was lost from sight, and the expected number came through each way."""
    for direction in ("tx", "rx"):
        bins = result.bins(direction)
        assert bins["completed"] in expected, (direction, bins, result.stats["counters"])
        assert bins["expired"] == bins["evicted"] == bins["dropped"] == 0, result.stats


@pytest.mark.scenario("ovs")
def test_200_pings_give_200_packets_each_way(
    lab: Lab, remote: Remote, measuring: Measuring
) -> None:
    address = lab.vms["vm-a"].ip4
    ping(remote, address, 2)
    for _ in range(4):  # until the emulated network itself loses none
        with measuring(
            filters=[{"protocol": "icmp", "src_ip": address, "either": True}]
        ) as session:
            answered = ping(remote, address, 200)
        result = session.result
        check_sums(result)
        check_loss_free(result, answered)
        if answered == Range(200, 200):
            break
    assert answered == Range(200, 200), "the lab's own network lost packets in every try"
    assert len(result.direction("tx")) == len(result.direction("rx")) == 200
    for direction, path in (("tx", OVS_TX), ("rx", OVS_RX)):
        check_paths(result, result.direction(direction), path)
        for packet in result.direction(direction):
            assert packet["flow"]["protocol"] == "icmp"
            assert (packet["vm_interface"], packet["phy_interface"]) == (
                lab.vms["vm-a"].vnet,
                lab.uplink,
            )
    # Each echo is a packet of its own: the answer leaves the guest after the request entered it.
    for request, answer in zip(result.direction("rx"), result.direction("tx")):
        assert answer["stages"][0]["t_ns"] > request["stages"][-1]["t_ns"]
    names = functions(result.direction("tx")[-1])
    assert names["tun_in"] == "tun_sendmsg" and names["switch_in"] == "netdev_frame_hook"
    assert "phy_gro" in stages(result.direction("rx")[-1])
    assert result.direction("tx")[-1]["process"]["comm"].startswith(
        "vhost" if lab.kernel in ("5.10", "6.1") else ""
    )


@pytest.mark.scenario("ovs")
def test_a_mirror_does_not_take_the_packet_off_its_path(
    lab: Lab, remote: Remote, measuring: Measuring
) -> None:
    """The switch sends the VM and the wire a clone, and the mirror the packet itself."""
    address, spy = lab.vms["vm-a"].ip4, "spy"
    # fmt: off
    made = ["add-port", lab.bridge, spy, "--", "set", "interface", spy, "type=internal",
            "--", "--id=@to", "get", "port", spy,
            "--", "--id=@m", "create", "mirror", "name=all", "select-all=true", "output-port=@to",
            "--", "set", "bridge", lab.bridge, "mirrors=@m"]
    # fmt: on
    subprocess.run(["ovs-vsctl", *made], check=True, timeout=30, stdout=subprocess.DEVNULL)
    try:
        subprocess.run(["ip", "link", "set", spy, "up"], check=True, timeout=10)
        ping(remote, address, 2)
        with measuring(
            filters=[{"protocol": "icmp", "src_ip": address, "either": True}]
        ) as session:
            answered = ping(remote, address, 50)
    finally:
        undone = ["clear", "bridge", lab.bridge, "mirrors", "--", "del-port", lab.bridge, spy]
        subprocess.run(["ovs-vsctl", *undone], check=True, timeout=30)
    result = session.result
    check_sums(result)
    check_loss_free(result, answered)
    for direction, path in (("tx", OVS_TX), ("rx", OVS_RX)):
        assert result.bins(direction)["filtered"] == 0
        check_paths(result, result.direction(direction), path)


@pytest.mark.parametrize("name", ["ovs", "bridge"])
def test_tcp_bulk_udp_bursts_and_ipv6_both_ways(
    name: str, scenario: Switch, remote: Remote, guest: Guest, measuring: Measuring
) -> None:
    lab = scenario(name)
    vm = lab.vms["vm-a"]
    for address in (vm.ip4, vm.ip6):
        ping(remote, address, 2)
    with measuring(max_rate=200) as session:
        udp = icmp = Range(0, 0)
        for address in (vm.ip4, vm.ip6):
            udp += echo_udp(remote, address)
            done = remote(["traffic", "tcp", address, "7000", str(1 << 20)], seconds=120)
            assert done.stdout == b"sent 1048576 received 1048576 wrong 0\n", done
            icmp += ping(remote, address, 10)
            session.pump(0)
        for address in (lab.remote_ip4, lab.remote_ip6):
            udp += echoed(guest(vm.name, f"traffic udp {address} 7001 20"), 20)
    result = session.result
    check_sums(result)
    for direction in ("tx", "rx"):
        bins = result.bins(direction)
        assert bins["expired"] == bins["evicted"] == bins["dropped"] == 0, result.stats
        assert flow_packets(result, direction, protocol="udp") in udp
        assert flow_packets(result, direction, protocol="icmp") in icmp
        tcp = [
            row
            for row in result.stats["flows"]
            if row["direction"] == direction and row["flow"]["protocol"] == "tcp"
        ]
        assert {":" in row["flow"]["src"] for row in tcp} == {True, False}
        assert all(row["bytes"] > 1 << 20 for row in tcp), tcp
    path = {"ovs": (OVS_TX, OVS_RX), "bridge": (BRIDGE_TX, BRIDGE_RX)}[name]
    for direction, points in zip(("tx", "rx"), path):
        check_paths(result, result.direction(direction), points)
    hook = {"ovs": "netdev_frame_hook", "bridge": "br_handle_frame"}[name]
    assert {functions(p).get("switch_in") for p in result.packets} - {None} == {hook}


@pytest.mark.parametrize("name", ["vlan", "qinq", "bond", "qemu"])
def test_tags_bonds_and_the_back_end_of_qemu(
    name: str, scenario: Switch, remote: Remote, measuring: Measuring
) -> None:
    lab = scenario(name)
    vm = lab.vms["vm-a"]
    for address in (vm.ip4, vm.ip6):
        ping(remote, address, 2)
    with measuring() as session:
        udp = icmp = Range(0, 0)
        for address in (vm.ip4, vm.ip6):
            icmp += ping(remote, address, 20)
            udp += echo_udp(remote, address)
    result = session.result
    check_sums(result)
    ours = [p for p in result.packets if p["flow"]["src"] in ends(lab, vm)]
    for direction, path in (("tx", OVS_TX), ("rx", OVS_RX)):
        bins = result.bins(direction)
        assert bins["expired"] == bins["evicted"] == bins["dropped"] == 0, result.stats
        assert flow_packets(result, direction, protocol="icmp") in icmp
        assert flow_packets(result, direction, protocol="udp") in udp
        passed = [p for p in ours if p["direction"] == direction]
        assert len(passed) >= icmp.low + udp.low
        check_paths(result, passed, path)
        for packet in passed:
            assert packet["phy_interface"] in lab.uplink_members
    if name == "qemu":
        entries = {functions(p).get("tun_in") for p in ours if p["direction"] == "tx"}
        assert entries - {None} == {"tun_get_user"}


def ends(lab: Lab, vm: Vm) -> set[str]:
    return {vm.ip4, vm.ip6, lab.remote_ip4, lab.remote_ip6}


@pytest.mark.scenario("two-vms")
def test_two_vms_at_once_are_kept_apart(
    lab: Lab, remote: Remote, guest: Guest, measuring: Measuring
) -> None:
    a, b = lab.vms["vm-a"], lab.vms["vm-b"]
    for vm in (a, b):
        ping(remote, vm.ip4, 2)
    with measuring(filters=[{"protocol": "icmp"}, {"protocol": "udp"}]) as session:
        pings = {"vm-a": ping(remote, a.ip4, 20), "vm-b": ping(remote, b.ip4, 30)}
        bursts = {"vm-a": Range(0, 0), "vm-b": echo_udp(remote, b.ip4)}
        done = guest("vm-a", "ping -c 5 " + b.ip4)
        answered = re.search(rb"(\d+) packets received", done.stdout)
        assert answered and int(answered.group(1)) > 0, done
    result = session.result
    check_sums(result)
    for direction, mine in (("tx", "src"), ("rx", "dst")):
        for vm in (a, b):
            rows = [
                row
                for row in result.stats["flows"]
                if row["vm_interface"] == vm.vnet
                and row["direction"] == direction
                and lab.remote_ip4 in (row["flow"]["src"], row["flow"]["dst"])
            ]
            assert {row["flow"][mine] for row in rows} == {vm.ip4}, rows
            assert (
                sum(r["packets"] for r in rows if r["flow"]["protocol"] == "icmp") in pings[vm.name]
            )
            assert (
                sum(r["packets"] for r in rows if r["flow"]["protocol"] == "udp") in bursts[vm.name]
            )
    # From one VM to the other: no wire, but tun to tun.
    between = [p for p in result.packets if {p["flow"]["src"], p["flow"]["dst"]} == {a.ip4, b.ip4}]
    assert len(between) in Range(2 * int(answered.group(1)), 10)
    for packet in between:
        assert packet["direction"] == "tx" and stages(packet)[-2:] == ["vnet_queue", "tun_out"]


@pytest.mark.scenario("ovs")
def test_offsets_from_headers_are_those_of_btf(lab: Lab, remote: Remote) -> None:
    """The image of 5.10 has the kernel's headers; the others show what happens without."""
    from vmlat_tui.probes import ladder, offsets

    kernel = ladder.inspect()
    assert kernel.btf
    if offsets.headers_directory() is None:
        assert lab.kernel != "5.10"
        with pytest.raises(UsageError, match="neither BTF nor installed headers"):
            offsets.from_headers()
        return
    assert lab.kernel == "5.10"
    assert offsets.from_headers().macros == offsets.from_btf(kernel.btf).macros
    address = lab.vms["vm-a"].ip4
    with measured(offsets="headers", filters=[{"protocol": "icmp"}]) as session:
        answered = ping(remote, address, 20)
    result = session.result
    assert result.hello["offsets"] == "headers"
    check_sums(result)
    check_loss_free(result, answered)
    assert all(leg_ns(p, "vnet_rx", "phy_xmit") > 0 for p in result.direction("tx"))
