"""The path between the guest and its tap: kick, vhost worker, interrupt, vCPU."""

from __future__ import annotations

import re
import statistics

import pytest

from tests.lab.measure import (
    Guest,
    Lab,
    Raw,
    Remote,
    Result,
    check_sums,
    check_unseen,
    leg_ns,
    measured,
    observed,
    stages,
)
from tests.lab.running import Measuring
from tests.lab.test_path import echo_udp, echoed, ping
from vmlat_tui.model.absences import ABSENCE

KICK = ["guest_exit", "guest_kick", "vhost_woken", "vhost_on_cpu", "vhost_tx"]
INTERRUPT = ["eventfd", "irqfd", "irq_accept", "vcpu_woken", "vcpu_on_cpu", "guest_entry"]
RECEIVE = ["tun_out", "vhost_woken", "vhost_on_cpu", "vhost_take", "vhost_signal", *INTERRUPT]


def reasons(packet: Raw) -> list[str]:
    return [row["reason"] for row in packet["absent"]]


def explained(packet: Raw, points: list[str]) -> bool:
    """Whether it passed all of these points, or says why not, and does not say both."""
    passed = set(stages(packet))
    left_out = {point for reason in reasons(packet) for point in ABSENCE[reason].points}
    return all((point in passed) != (point in left_out) for point in points)


def check_chains(result: Result, packets: list[Raw], points: list[str]) -> None:
    """All are explained, but for those that lack a point whose program did not run."""
    check_unseen(result, packets, [p for p in packets if not explained(p, points)])


def count(result: Result, reason: str) -> int:
    return sum(row["packets"] for row in result.stats["absences"] if row["reason"] == reason)


@pytest.mark.scenario("ovs")
def test_every_packet_goes_from_the_kick_to_the_wire_and_from_the_wire_to_the_guest(
    lab: Lab, remote: Remote, guest: Guest, measuring: Measuring
) -> None:
    vm = lab.vms["vm-a"]
    ping(remote, vm.ip4, 3)
    with measuring(filters=[{"protocol": "icmp"}, {"protocol": "udp"}]) as session:
        ping(remote, vm.ip4, 3)  # the worker's works are met
        session.pump(0.5)
        known = len(session.result.packets)
        icmp = ping(remote, vm.ip4, 300)
        udp = echo_udp(remote, vm.ip4, 200)
        udp += echoed(guest(vm.name, f"traffic udp {lab.remote_ip4} 7001 200 100 0.005"), 200)
    result = session.result
    check_sums(result)
    packets = result.packets[known:]
    sent = [p for p in packets if p["direction"] == "tx"]
    received = [p for p in packets if p["direction"] == "rx"]
    assert len(sent) >= icmp.low + udp.low and len(received) >= icmp.low + udp.low
    check_chains(result, sent, KICK)
    check_chains(result, received, RECEIVE)
    # No reason stands for what was simply not seen.
    for name in ("ring_full", "entry_unseen", "injected_elsewhere"):
        assert count(result, name) <= len(packets) // 1000, (name, result.stats["absences"])
    # Most pings meet a sleeping worker and a sleeping vCPU: the whole chain.
    whole = [p for p in received if set(RECEIVE) <= set(stages(p))]
    assert len(whole) >= 100, result.stats["absences"]
    assert len([p for p in sent if set(KICK) <= set(stages(p))]) >= 100, result.stats["absences"]
    # What a reason says of single packets, the statistics say of all.
    for reason in ABSENCE:
        told = sum(reason in reasons(p) for p in result.packets)
        assert count(result, reason) == told, (reason, told, result.stats["absences"])
    tasks = {s["point"]: s["comm"] for s in whole[-1]["stages"] if s["comm"]}
    assert tasks["vhost_take"].startswith("vhost-") and tasks["guest_entry"] == "CPU 0/KVM"


#: The same legs by somebody else's program, alike at every point, so that what it costs there
#: cancels out.  It prints between the packets, for that takes long, and what one probe costs.
OBSERVER = """
BEGIN { printf("observing\\n"); }
tracepoint:net:netif_receive_skb /@accept/ {
    printf("legs %d %d %d %d %d\\n", @signal - @before, @eventfd - @signal,
           @irqfd - @eventfd, @accept - @irqfd, @again - @before);
    @worker = 0; @eventfd = 0; @irqfd = 0; @accept = 0;
}
kprobe:tun_net_xmit { @out = nsecs; @before = @out; }
kprobe:tun_net_xmit { @again = nsecs; }
kprobe:vhost_add_used_and_signal_n /@out/ { @signal = nsecs; @worker = tid; @out = 0; }
kprobe:EVENTFD /@worker == tid && !@eventfd/ { @eventfd = nsecs; }
kprobe:irqfd_wakeup /@worker == tid && !@irqfd/ { @irqfd = nsecs; }
kprobe:__apic_accept_irq /@worker == tid && !@accept/ { @accept = nsecs; }
"""


@pytest.mark.scenario("ovs")
def test_bpftrace_agrees_on_the_legs_of_the_interrupt(lab: Lab, remote: Remote) -> None:
    """The agent begins after bpftrace: in the other order the first leg differs by a tenth."""
    vm = lab.vms["vm-a"]
    ping(remote, vm.ip4, 3)
    eventfd = "eventfd_signal_mask" if lab.kernel == "6.12" else "eventfd_signal"
    only = {"filters": [{"protocol": "icmp", "dst_ip": vm.ip4}], "directions": ["rx"]}
    with observed(OBSERVER.replace("EVENTFD", eventfd)) as observation, measured(**only) as session:
        ping(remote, vm.ip4, 200)
    result, output = session.result, observation.output
    check_sums(result)
    rows = re.findall(r"^legs (\d+) (\d+) (\d+) (\d+) (\d+)$", output, re.MULTILINE)
    points = ["tun_out", "vhost_signal", "eventfd", "irqfd", "irq_accept"]
    whole = [p for p in result.direction("rx") if set(points) <= set(stages(p))]
    assert len(whole) >= 100 and len(rows) >= 100, (len(whole), output[-500:])
    *theirs, price = (statistics.median(map(int, column)) for column in zip(*rows))
    mine = [statistics.median(leg_ns(p, *leg) for p in whole) for leg in zip(points, points[1:])]
    # Whose probe of a place runs first is not known: a leg may hold one of the other's.
    for own, other in zip(mine, theirs):
        assert abs(own - other) <= 0.1 * other + 1.5 * price, (mine, theirs, price)
    assert abs(mine[0] - theirs[0]) <= 0.1 * theirs[0], (mine, theirs, price)


#: How long before a kick its guest left.
EXIT_OBSERVER = """
BEGIN { printf("observing\\n"); }
tracepoint:kvm:kvm_exit { @left[tid] = nsecs; }
kprobe:ioeventfd_write /@left[tid]/ { @exit = nsecs - @left[tid]; }
kprobe:handle_tx_kick /@exit/ { printf("exit %d\\n", @exit); @exit = 0; }
"""


@pytest.mark.scenario("ovs")
def test_bpftrace_agrees_on_the_exit_that_a_kick_comes_from(lab: Lab, remote: Remote) -> None:
    """Roughly: each of both programs may be within what the other one measures."""
    vm = lab.vms["vm-a"]
    ping(remote, vm.ip4, 3)
    only = {"filters": [{"protocol": "icmp", "src_ip": vm.ip4}], "directions": ["tx"]}
    with observed(EXIT_OBSERVER) as observation, measured(**only) as session:
        ping(remote, vm.ip4, 100)
    check_sums(session.result)
    theirs = [int(ns) for ns in re.findall(r"^exit (\d+)$", observation.output, re.MULTILINE)]
    leg = "guest_exit", "guest_kick"
    mine = [leg_ns(p, *leg) for p in session.result.packets if set(leg) <= set(stages(p))]
    assert len(mine) >= 50 and len(theirs) >= 50, (len(mine), observation.output[-500:])
    own, other = statistics.median(mine), statistics.median(theirs)
    print(f"exit to kick: {own / 1e3:.1f} µs, by bpftrace {other / 1e3:.1f} µs")
    assert other / 2 <= own <= 2 * other, (own, other)


@pytest.mark.scenario("two-vms")
def test_two_queues_and_two_vms_have_their_own_workers_and_vcpus(
    lab: Lab, remote: Remote, measuring: Measuring
) -> None:
    a, b = lab.vms["vm-a"], lab.vms["vm-b"]
    for vm in (a, b):
        ping(remote, vm.ip4, 3)
    with measuring(filters=[{"protocol": "icmp"}, {"protocol": "udp"}]) as session:
        for vm in (a, b):
            ping(remote, vm.ip4, 3)
        session.pump(0.5)
        known = len(session.result.packets)
        for vm in (a, b):
            ping(remote, vm.ip4, 50)
            echo_udp(remote, vm.ip4)
    result = session.result
    check_sums(result)
    packets = result.packets[known:]
    check_chains(result, [p for p in packets if p["direction"] == "tx"], KICK)
    check_chains(result, [p for p in packets if p["direction"] == "rx"], RECEIVE)
    threads: dict[str, set[int]] = {}
    for packet in packets:
        for stage in packet["stages"]:
            if stage["point"] in ("vhost_take", "guest_entry") and stage["tid"]:
                threads.setdefault(packet["vm_interface"], set()).add(stage["tid"])
    assert a.vnet and b.vnet
    assert threads[a.vnet] and threads[b.vnet] and not threads[a.vnet] & threads[b.vnet]


@pytest.mark.scenario("ovs")
def test_wakeups_of_the_worker_and_the_vcpu_are_taken_apart(
    lab: Lab, remote: Remote, measuring: Measuring
) -> None:
    vm = lab.vms["vm-a"]
    ping(remote, vm.ip4, 3)
    with measuring(filters=[{"protocol": "icmp"}]) as session:
        ping(remote, vm.ip4, 100)
    rows = {row["role"]: row for row in session.result.stats["wakeups"]}
    assert rows["worker"]["vm_interface"] == vm.vnet and rows["vcpu"]["vm_interface"] is None
    for row in rows.values():
        woken = row["idle"]["count"] + row["queued"]["count"]
        assert woken >= 50, row
        assert row["idle"]["max_ns"] < 10_000_000_000
        assert sum(number for _, number in row["idle_states"]) == row["idle"]["count"]
