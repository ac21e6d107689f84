"""A tracked packet that is freed on the way is reported with its place, and is in its bin."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.measure import Guest, Lab, Remote, Result, Session, check_sums
from tests.lab.running import Measuring
from vmlat_tui.lab.hypervisor.system import wait_for

DROP = re.compile(r"dst=7999\).*actions:drop")


def run(*words: str) -> str:
    done = subprocess.run(words, check=True, timeout=20, stdout=subprocess.PIPE)
    return done.stdout.decode()


def send(lab: Lab, session: Session, count: int, before: int) -> None:
    """Until they have been seen: ``traffic`` itself would wait for answers that do not come."""
    remote = ["ip", "netns", "exec", lab.remote_ns]
    command = [*remote, "traffic", "udp", lab.vms["vm-a"].ip4, "7999", str(count)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as sender:
        try:
            wanted = before + count
            session.wait(lambda r: r.bins("rx")["started"] >= wanted, 30, "the datagrams")
        finally:
            sender.kill()


def check_drops(
    result: Result, direction: str, count: int, points: set[str], functions: set[str]
) -> None:
    bins = result.bins(direction)
    assert bins["dropped"] == count, (bins, result.drops)
    mine = [d for d in result.drops if (d["direction"], d["bin"]) == (direction, "dropped")]
    assert len(mine) == count
    for drop in mine:
        assert drop["drop"]["point"] in points, drop
        assert drop["drop"]["function"] in functions, drop
    rows = [row for row in result.stats["drops"] if row["direction"] == direction]
    assert sum(row["packets"] for row in rows) == count


@pytest.mark.scenario("ovs")
def test_a_drop_flow_of_openvswitch(lab: Lab, measuring: Measuring) -> None:
    run("ovs-ofctl", "add-flow", lab.bridge, "priority=99,udp,tp_dst=7999,actions=drop")
    try:
        with measuring(filters=[{"dst_port": 7999}]) as session:
            send(lab, session, 1, before=0)
            # The first was given to ovs-vswitchd, which installs a flow.  Old ones drop it
            # without a word, later ones give it back with the action to drop it.
            wait_for("the flow", lambda: DROP.search(run("ovs-appctl", "dpctl/dump-flows")), 30)
            send(lab, session, 20, before=1)
    finally:
        run("ovs-ofctl", "del-flows", lab.bridge, "udp,tp_dst=7999")
    result = session.result
    check_sums(result)
    bins = result.bins("rx")
    given_back = sum(d["drop"]["point"] == "ovs_reinject" for d in result.drops)
    assert given_back in (0, 1)
    functions = {"do_execute_actions", "ovs_execute_actions"}
    check_drops(result, "rx", 20 + given_back, {"ovs_dp", "ovs_reinject"}, functions)
    assert bins["started"] == 21, bins
    assert bins["expired"] + bins["in_flight"] == 1 - given_back, bins


@pytest.mark.scenario("ovs")
def test_an_uplink_that_is_down(
    lab: Lab, guest: Guest, remote: Remote, measuring: Measuring
) -> None:
    # The flow must still be in the datapath when the port is down: idle ones leave after 10 s.
    run("ovs-vsctl", "set", "Open_vSwitch", ".", "other_config:max-idle=600000")
    command = f"traffic udp {lab.remote_ip4} 7001 5 100 0.02"
    # The guest must not have to ask where the other side is.
    address = remote(["cat", f"/sys/class/net/{lab.remote_device}/address"]).stdout.decode()
    assert guest("vm-a", f"arp -s {lab.remote_ip4} {address}").status == 0
    pid = Path("/run/openvswitch/ovs-vswitchd.pid").read_text().strip()
    # A slow machine's ovs-vswitchd takes back flows that it has no time to look at again.
    for _ in range(10):
        guest("vm-a", command)
        run("kill", "-STOP", pid)
        if guest("vm-a", command).stdout.startswith(b"sent 5 received 5 "):
            break
        run("kill", "-CONT", pid)
    else:
        pytest.fail("the datapath does not keep the flow")
    try:
        with measuring(
            filters=[{"protocol": "udp", "dst_port": 7001}], directions=["tx"]
        ) as session:
            run("ip", "link", "set", lab.uplink, "down")
            guest("vm-a", command)
    finally:
        run("ip", "link", "set", lab.uplink, "up")
        run("kill", "-CONT", pid)
        run("ovs-vsctl", "remove", "Open_vSwitch", ".", "other_config", "max-idle")
        guest("vm-a", f"arp -d {lab.remote_ip4}")
    result = session.result
    check_sums(result)
    bins = result.bins("tx")
    assert bins["completed"] == 0 and bins["dropped"] >= 1, (bins, result.drops)
    for drop in result.drops:
        if drop["bin"] == "dropped":
            assert drop["drop"]["point"] in ("ovs_dp", "switch_out", "phy_queue"), drop
            assert drop["drop"]["function"], drop


@pytest.mark.scenario("ovs")
def test_a_full_tun_ring(lab: Lab, remote: Remote, measuring: Measuring) -> None:
    vm = lab.vms["vm-a"]
    assert remote(["traffic", "udp", vm.ip4, "7001", "2"]).status == 0
    usual = Path(f"/sys/class/net/{vm.vnet}/tx_queue_len").read_text().strip()
    assert vm.vnet
    run("ip", "link", "set", vm.vnet, "txqueuelen", "50")  # which is also the ring's size
    # A stopped guest does not say where it is.
    neighbour = ["ip", "neigh", "replace", vm.ip4, "lladdr", vm.mac, "dev", lab.remote_device]
    assert remote([*neighbour, "nud", "permanent"]).status == 0
    run("virsh", "suspend", "vm-a")
    try:
        with measuring(
            filters=[{"protocol": "udp", "dst_ip": vm.ip4}], directions=["rx"], max_rate=100
        ) as session:
            result, end = session.result, time.monotonic() + 120
            while result.bins("rx")["dropped"] <= 100:
                assert time.monotonic() < end, result.stats
                remote(["traffic", "udp", vm.ip4, "7001", "200", "64", "0.0005"], 60)
                session.pump(1)
    finally:
        run("virsh", "resume", "vm-a")
        run("ip", "link", "set", vm.vnet, "txqueuelen", usual)
        remote([*neighbour, "nud", "reachable"])
    check_sums(result)
    rows = [row for row in result.stats["drops"] if row["direction"] == "rx"]
    reason = "FULL_RING" if lab.kernel != "5.10" else None
    assert {(row["function"], row["reason"]) for row in rows} == {("tun_net_xmit", reason)}, rows
    # The kernel skips a kprobe's program where it interrupts another's: rare.
    places = {row["point"]: row["packets"] for row in rows}
    assert set(places) <= {"tun_out", "vnet_queue"}, places
    assert places["tun_out"] >= 0.95 * result.bins("rx")["dropped"], places
    assert any(d["drop"]["point"] == "tun_out" for d in result.drops)
