"""An injected delay is blamed on its leg, and an independent observer agrees."""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.measure import Lab, Remote, Result, check_sums, leg_ns, observed, stages
from tests.lab.running import Measuring

MS = 1_000_000


def tc(*words: str) -> None:
    subprocess.run(["tc", "qdisc", *words], check=True, timeout=10)


def close(measured_ns: float, injected_ns: float) -> bool:
    """Within 5 % plus 1 ms."""
    return abs(measured_ns - injected_ns) <= 0.05 * injected_ns + MS


@pytest.mark.scenario("ovs")
def test_netem_on_the_uplink_is_blamed_on_its_queue_and_bpftrace_agrees(
    lab: Lab, remote: Remote, measuring: Measuring
) -> None:
    vm = lab.vms["vm-a"]
    with observed(OBSERVER) as observation:
        try:
            tc("add", "dev", lab.uplink, "root", "netem", "delay", "20ms")
            with measuring(
                filters=[{"protocol": "icmp", "src_ip": vm.ip4}], directions=["tx"]
            ) as session:
                done = remote(
                    ["ping", "-n", "-q", "-c", "60", "-i", "0.05", "-W", "5", "-s", "333", vm.ip4],
                    120,
                )
                assert done.status == 0, done
        finally:
            subprocess.run(["tc", "qdisc", "del", "dev", lab.uplink, "root"], timeout=10)
    result, output = session.result, observation.output
    check_sums(result)
    packets = result.direction("tx")
    assert len(packets) == 60
    queue = statistics.median(leg_ns(p, "phy_queue", "phy_xmit") for p in packets)
    assert close(queue, 20 * MS), queue
    others = statistics.median(p["total_ns"] - leg_ns(p, "phy_queue", "phy_xmit") for p in packets)
    assert others < 5 * MS, others
    seen = [int(n) for n in re.findall(r"leg (\d+)", output)]
    # On a busy machine one that only passed another interface may have waited as long.
    assert 60 <= len(seen) <= 65, output
    assert abs(statistics.median(seen) - queue) <= 0.1 * queue, (seen, queue)


#: The same leg of the same packets, by somebody else's program.  Their length is theirs alone, and
#: only on the uplink do they wait for milliseconds (bpftrace 0.11 cannot compare names).
OBSERVER = """
BEGIN { printf("observing\\n"); }
tracepoint:net:net_dev_queue /args->len == 375/ { @start[args->skbaddr] = nsecs; }
tracepoint:net:net_dev_start_xmit /@start[args->skbaddr]/
{
    $waited = nsecs - @start[args->skbaddr];
    if ($waited > 5000000) { printf("leg %d\\n", $waited); }
    delete(@start[args->skbaddr]);
}
"""


def upcalled(result: Result) -> bool:
    return bool(result.stats["hooks"]["ovs_dp_upcall"])


@pytest.mark.scenario("ovs")
def test_a_stopped_vswitchd_is_blamed_on_the_upcall(
    lab: Lab, remote: Remote, measuring: Measuring
) -> None:
    vm = lab.vms["vm-a"]
    vswitchd = int(Path("/run/openvswitch/ovs-vswitchd.pid").read_text())
    done = remote(["ping", "-n", "-q", "-c", "2", "-i", "0.2", vm.ip4])
    assert done.status == 0, done
    with measuring(filters=[{"protocol": "icmp", "dst_ip": vm.ip4}], directions=["rx"]) as session:
        subprocess.run(["ovs-appctl", "dpctl/del-flows"], check=True, timeout=10)
        os.kill(vswitchd, signal.SIGSTOP)
        try:
            sender = subprocess.Popen(
                ["ip", "netns", "exec", lab.remote_ns, "ping", "-n", "-c", "1", "-W", "5", vm.ip4],
                stdout=subprocess.DEVNULL,
            )
            session.wait(upcalled, 20, "the upcall")
            session.pump(0.3)
        finally:
            resumed_ns = time.monotonic_ns()
            os.kill(vswitchd, signal.SIGCONT)
        assert sender.wait(timeout=30) == 0
    result = session.result
    check_sums(result)
    (packet,) = result.direction("rx")
    times = {stage["point"]: stage["t_ns"] for stage in packet["stages"]}
    # Its upcall waited until the daemon went on.
    injected = resumed_ns - times["ovs_upcall"]
    assert injected >= 300 * MS
    leg = leg_ns(packet, "ovs_upcall", "ovs_reinject")
    assert close(leg, injected), (leg, injected)
    assert packet["total_ns"] - leg < 0.1 * leg, packet


@pytest.mark.scenario("ovs")
def test_a_burst_that_waits_in_the_upcall_is_told_apart(
    lab: Lab, remote: Remote, measuring: Measuring
) -> None:
    """Of one flow, of one length, and over IPv6 without an IP id: their payload differs."""
    vm = lab.vms["vm-a"]
    vswitchd = int(Path("/run/openvswitch/ovs-vswitchd.pid").read_text())
    assert remote(["traffic", "udp", vm.ip6, "7001", "5"]).status == 0
    with measuring(filters=[{"protocol": "udp", "dst_ip": vm.ip6}], directions=["rx"]) as session:
        subprocess.run(["ovs-appctl", "dpctl/del-flows"], check=True, timeout=10)
        os.kill(vswitchd, signal.SIGSTOP)
        try:
            command = ["ip", "netns", "exec", lab.remote_ns, "traffic", "udp", vm.ip6, "7001", "30"]
            sender = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            session.wait(lambda r: r.stats["hooks"]["ovs_dp_upcall"] >= 10, 20, "the upcalls")
            session.pump(0.3)
        finally:
            os.kill(vswitchd, signal.SIGCONT)
        sender.wait(timeout=30)
    result = session.result
    check_sums(result)
    bins = result.bins("rx")
    assert bins["completed"] == bins["started"] >= 10, result.stats
    waited = [p for p in result.direction("rx") if "ovs_reinject" in stages(p)]
    assert len(waited) >= 10
