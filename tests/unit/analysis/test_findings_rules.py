"""Placement, settings and queues: blamed only for time that was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.cases import (
    COUNT,
    CPU,
    VCPU,
    WORKER,
    busy,
    evidence,
    ids,
    many,
    mixed,
    near,
    one,
    rates,
    topology,
)
from tests.tui import host
from vmlat_tui.analysis.findings import judge
from vmlat_tui.analysis.findings.evidence import Drop, Evidence
from vmlat_tui.analysis.findings.finding import Severity, Sureness
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.points import Direction
from vmlat_tui.model.topology import (
    Domain,
    Hop,
    Irq,
    Ovs,
    OvsBridge,
    OvsInterface,
    OvsPort,
    Qdisc,
    Topology,
    Way,
)

TAKE, COPY = "rx:vhost_take>vhost_signal", "tx:vhost_tx>tun_in"


def moved(worker_cpu: int = CPU, vcpu_cpu: int = 2, **fields: Any) -> Domain:
    """The VM with its threads elsewhere."""
    domain = topology().domains[0]
    worker = replace(
        domain.workers[0], thread=host.thread(WORKER, "vhost", worker_cpu, [worker_cpu])
    )
    first, *others = domain.vcpus
    vcpu = replace(first, thread=host.thread(VCPU, "CPU 0/KVM", vcpu_cpu, [vcpu_cpu]))
    return replace(domain, workers=(worker,), vcpus=(vcpu, *others), **fields)


# ---- nodes --------------------------------------------------------------------------------------


def test_a_worker_away_from_the_memory_explains_at_most_half_of_its_copies() -> None:
    on = topology(moved(worker_cpu=12), nic={"node": None, "irqs": ()})
    given = evidence({COPY: many(8_000), TAKE: many(6_000)}, on=on)
    found = [f for f in judge(given) if f.id == "worker-far-memory"]
    tx, rx = (f.explained for f in found)
    assert tx is not None and tx.direction is Direction.TX and tx.p50_ns == near((8_000 + 400) // 2)
    assert rx is not None and rx.direction is Direction.RX and rx.p50_ns == near(3_000)
    assert all(f.sureness is Sureness.POSSIBLE for f in found)
    assert "ran on node 1, the VM's memory is on node 0" in found[0].sentence
    assert "numastat -p 2000" in found[0].remedy
    assert found[0].severity is Severity.SUSPECT, "nothing that is only possible is wrong"


def test_placement_alone_is_never_blamed() -> None:
    on = topology(moved(worker_cpu=12, vcpu_cpu=13))
    assert ids(evidence(on=on)) == []


def test_a_vcpu_away_from_the_memory_explains_at_most_half_of_its_entries() -> None:
    entry = {"rx:vcpu_on_cpu>guest_entry": many(9_000)}
    finding = one(evidence(entry, on=topology(moved(vcpu_cpu=12))), "vcpu-far-memory")
    assert finding.explained is not None and finding.explained.p50_ns == near(4_500)
    assert finding.sentence.startswith("vCPU 0 ran on another node")
    assert ids(evidence(entry)) == []


def test_a_nic_and_its_interrupts_away_from_the_worker_are_told_apart() -> None:
    slow = {TAKE: many(9_000)}
    far = topology(moved(memory_nodes=()), nic={"node": 1})
    assert ids(evidence(slow, on=far)) == ["worker-far-nic"]
    irqs = topology(nic={"irqs": (Irq(9, "x", (12,), (12,)),)})
    finding = one(evidence(slow, on=irqs), "nic-interrupts-far")
    assert "interrupts of ens1f0 go to CPUs of node 1" in finding.sentence
    assert ids(evidence(slow, on=topology())) == []


# ---- slower CPUs --------------------------------------------------------------------------------


def test_a_busy_sibling_explains_at_most_half_while_it_is_busy() -> None:
    slow = {COPY: many(20_000)}
    given = evidence(slow, rates=rates(threads=busy(VCPU, 0.8, cpu=CPU + 1)))
    finding = one(given, "worker-busy-sibling")
    assert "shares a core with CPU 7, of which vCPU 0 of web-1 used 80 %" in finding.sentence
    # The legs of the worker's own work: 20000 + 400 + 250 + 250 + 400 + 250.
    assert finding.explained is not None
    assert finding.explained.p50_ns == pytest.approx(0.4 * 21_550, rel=0.05)
    assert ids(evidence(slow, rates=rates(threads=busy(VCPU, 0.1, cpu=CPU + 1)))) == []
    assert ids(evidence(slow, rates=rates(threads=busy(VCPU, 0.8, cpu=CPU + 2)))) == []


def test_a_governor_that_saves_power_is_possible_behind_a_mostly_idle_cpus_work() -> None:
    cpus = tuple(replace(cpu, governor="powersave") for cpu in host.cpus())
    slow = {COPY: many(20_000)}
    finding = one(evidence(slow, on=topology(cpus=cpus)), "governor")
    assert "governor of CPU 6 is powersave" in finding.sentence
    assert finding.severity is Severity.NOTE and finding.sureness is Sureness.POSSIBLE
    given = evidence(slow, on=topology(cpus=cpus), rates=rates(threads=busy(WORKER, 0.9)))
    assert ids(given) == [], "its clock is up"
    assert ids(evidence(slow)) == []


# ---- the wire -----------------------------------------------------------------------------------


def test_packets_that_wait_in_gro_are_found_with_the_coalescing() -> None:
    slow = {"rx:phy_gro>phy_rx": many(30_000)}
    on = topology(nic={"coalescing": {"rx-usecs": 50, "adaptive-rx": 1, "tx-usecs": 9}})
    finding = one(evidence(slow, on=on), "gro-wait")
    assert finding.explained is not None and finding.explained.p50_ns == near(30_000)
    assert finding.sentence.endswith("coalescing of ens1f0: rx-usecs 50, adaptive-rx 1")
    assert finding.sureness is Sureness.MEASURED and finding.numbers["rx_usecs"] == 50
    assert ids(evidence({"rx:phy_gro>phy_rx": many(1_100)})) == [], "as long as code takes"


def queue(kind: str) -> Qdisc:
    return Qdisc(kind, "0:", "root", 3, 0, 4096, 5)


def test_packets_that_wait_in_the_uplinks_qdisc_are_found_with_its_backlog() -> None:
    slow = {"tx:phy_queue>phy_xmit": many(20_000_000)}
    on = topology(nic={"qdiscs": (queue("netem"),)})
    finding = one(evidence(slow, on=on), "qdisc-backlog")
    assert finding.explained is not None and finding.explained.p50_ns == near(20_000_000)
    assert "(netem, backlog 5 packets when last looked at, 3 dropped" in finding.sentence
    assert "tc -s qdisc show dev ens1f0" in finding.remedy
    assert ids(evidence({"tx:phy_queue>phy_xmit": many(900)})) == []


def test_a_tap_has_to_have_a_queue_for_packets_to_wait_in_it() -> None:
    slow = {"rx:vnet_queue>tun_out": many(50_000)}
    assert ids(evidence(slow, on=topology(tap={"qdiscs": (queue("fq_codel"),)}))) == [
        "qdisc-backlog"
    ]
    assert ids(evidence(slow, on=topology(tap={"qdiscs": (queue("noqueue"),)}))) == []


def test_few_slow_packets_in_a_queue_are_likely_only() -> None:
    slow = {"tx:phy_queue>phy_xmit": mixed((300, 900), (900_000, 100))}
    finding = one(evidence(slow), "qdisc-backlog")
    assert finding.sureness is Sureness.LIKELY
    assert finding.explained is not None and finding.explained.p50_ns == 0


def bonded() -> Topology:
    here = topology()
    bond = host.interface("bond0", 9, "bond", details={"mode": "802.3ad"})
    way = here.ways[0]
    hops = (*way.hops[:-1], Hop("bond0", "port of the bridge"), way.hops[-1])
    return replace(
        here,
        interfaces=(*here.interfaces, bond),
        ways=(Way(way.tap, hops, way.uplinks, None),),
    )


def test_a_bond_is_possible_behind_what_is_between_switch_and_uplink() -> None:
    slow = {"tx:switch_out>phy_queue": many(4_000)}
    finding = one(evidence(slow, on=bonded()), "bond-mode")
    assert finding.sentence == "the way goes through the bond bond0, mode 802.3ad"
    assert "/proc/net/bonding/bond0" in finding.remedy
    assert finding.explained is not None and finding.explained.p50_ns == near(4_000)
    assert ids(evidence(slow)) == [] and ids(evidence(on=bonded())) == []


@pytest.mark.parametrize(("mode", "found"), [("balance-tcp", ["bond-mode"]), ("active-backup", [])])
def test_a_bond_of_the_switch_counts_if_it_recirculates(mode: str, found: list[str]) -> None:
    members = tuple(OvsInterface(n, "system", 1, None, {}, {}) for n in ("ens1f0", "ens1f1"))
    port = OvsPort("bond1", None, (), None, mode, None, members)
    on = topology(ovs=Ovs("running", "3.1", (OvsBridge("br-int", "system", (port,)),)))
    assert ids(evidence({"tx:ovs_dp>switch_out": many(9_000)}, on=on)) == found


def test_offloads_that_are_off_are_possible_behind_the_time_before_the_driver() -> None:
    slow = {"tx:phy_queue>phy_xmit": many(1_500)}
    off = {"tx-checksum-ipv4": False, "tx-tcp-segmentation": False, "tx-scatter-gather": True}
    finding = one(evidence(slow, on=topology(nic={"offloads": off})), "offloads-off")
    assert finding.sentence == (
        "ens1f0 has tx-checksum-ipv4, tx-tcp-segmentation switched off"
    )  # fmt: skip
    assert finding.explained is not None and finding.explained.p50_ns == near(1_500)
    on = {"tx-checksum-ip-generic": True, "tx-checksum-ipv4": False}
    assert "offloads-off" not in ids(evidence(slow, on=topology(nic={"offloads": on})))
    assert "offloads-off" not in ids(evidence(slow)), (
        "what the device does not have cannot be switched on"
    )
    assert ids(evidence(on=topology(nic={"offloads": off}))) == []


# ---- switch and tun -----------------------------------------------------------------------------


def test_upcalls_are_found_with_the_share_of_packets() -> None:
    legs = {
        "rx:ovs_dp>switch_out": many(400, 900),
        "rx:ovs_dp>ovs_upcall": many(500, 100),
        "rx:ovs_upcall>ovs_reinject": many(1_800_000, 100),
        "rx:ovs_reinject>switch_out": many(400, 100),
    }
    finding = one(evidence(legs), "ovs-upcalls")
    assert finding.sentence.startswith("10 % of 1000 packets went through ovs-vswitchd")
    assert finding.explained is not None and finding.sureness is Sureness.MEASURED
    assert (finding.explained.p50_ns, finding.explained.p99_ns) == (0, near(1_800_000))
    few = {"rx:ovs_upcall>ovs_reinject": many(1_800_000, 5)}
    assert ids(evidence(few)) == [], "one packet in 200 is neither p50 nor p99"


def ringed(dropped: tuple[Drop, ...], waited: int, **fields: Any) -> Evidence:
    legs = {"rx:tun_out>vhost_take": many(waited), "rx:tun_out>vhost_woken": Histogram()}
    return evidence(legs, drops=dropped, **fields)


def test_a_full_ring_is_found_by_its_drops_and_the_time_in_it() -> None:
    drop = Drop(Direction.RX, "tun_out", "FULL_RING", "tun_net_xmit", 50)
    finding = one(ringed((drop,), 900_000), "tun-ring-full")
    assert finding.explained is not None and finding.explained.p50_ns == near(900_000)
    assert finding.explained.lost == pytest.approx(50 / 1050)
    assert finding.severity is Severity.WRONG and finding.sureness is Sureness.MEASURED
    assert "vnet0 dropped 50 packets (4.8 %)" in finding.sentence


def test_without_a_reason_the_function_or_the_taps_counter_tells() -> None:
    old = Drop(Direction.RX, "vnet_queue", None, "tun_net_xmit", 50)
    assert one(ringed((old,), 900_000), "tun-ring-full").sureness is Sureness.LIKELY
    counters = {"vnet0": {"tx_dropped": 20.0, "tx_packets": 980.0}}
    given = ringed((), 900_000, rates=rates(interfaces=counters))
    assert "20.0 packets a second (2.0 %, by the tap's" in one(given, "tun-ring-full").sentence


def test_other_drops_and_none_are_no_full_ring() -> None:
    other = Drop(Direction.RX, "switch_out", "QDISC_DROP", "__dev_queue_xmit", 50)
    assert ids(ringed((other,), 900_000)) == [] and ids(ringed((), 900_000)) == []


def test_a_loss_that_is_rare_and_a_wait_that_is_short_are_no_finding() -> None:
    drop = Drop(Direction.RX, "tun_out", "FULL_RING", "tun_net_xmit", 1)
    assert one(evidence(drops=(drop._replace(packets=2),)), "tun-ring-full").explained is not None
    assert ids(evidence(count=5 * COUNT, drops=(drop,))) == []


def test_one_queue_is_blamed_if_its_worker_is_busy_and_packets_wait_for_it() -> None:
    waited = {"rx:tun_out>vhost_take": many(30_000, 700)}
    finding = one(evidence(waited, rates=rates(threads=busy(WORKER, 0.93))), "one-queue")
    assert "one queue for 2 vCPUs" in finding.sentence and "93 % of a CPU" in finding.sentence
    assert finding.explained is not None and finding.explained.p50_ns == near(30_000)
    assert ids(evidence(waited)) == [], "its worker has time"
    assert ids(evidence(rates=rates(threads=busy(WORKER, 0.93)))) == [], "nobody waits"
