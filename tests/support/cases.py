"""Evidence for tests of findings: a host that is in order, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Optional

import pytest

from tests.tui import host
from vmlat_tui.analysis.findings import judge
from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Finding
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.rates import HaltRate, NeighbourRate, Rates, ThreadRate
from vmlat_tui.model.topology import Domain, Interface, Topology
from vmlat_tui.model.wakeups import Role, Wakeups

TAP = "vnet0"
WORKER, VCPU, OTHER_VCPU = 2030, 2010, 2011
#: Of the worker; a vCPU runs on 2.  CPU 7 is its sibling.
CPU = 6
TX_WAKE, RX_WAKE = "tx:vhost_woken>vhost_on_cpu", "rx:vhost_woken>vhost_on_cpu"
VCPU_WAKE = "rx:vcpu_woken>vcpu_on_cpu"
#: What a healthy way takes, in ns.
LEGS = {
    "tx:guest_kick>vhost_woken": 300, TX_WAKE: 900, "tx:vhost_on_cpu>vhost_tx": 250,
    "tx:vhost_tx>tun_in": 300, "tx:tun_in>vnet_rx": 400, "tx:vnet_rx>switch_in": 250,
    "tx:switch_in>ovs_dp": 250, "tx:ovs_dp>switch_out": 400, "tx:switch_out>phy_queue": 250,
    "tx:phy_queue>phy_xmit": 300,
    "rx:phy_gro>phy_rx": 300, "rx:phy_rx>switch_in": 250, "rx:switch_in>ovs_dp": 250,
    "rx:ovs_dp>switch_out": 400, "rx:switch_out>vnet_queue": 250, "rx:vnet_queue>tun_out": 300,
    "rx:tun_out>vhost_woken": 250, RX_WAKE: 900, "rx:vhost_on_cpu>vhost_take": 300,
    "rx:vhost_take>vhost_signal": 350, "rx:vhost_signal>eventfd": 100, "rx:eventfd>irqfd": 100,
    "rx:irqfd>irq_accept": 150, "rx:irq_accept>vcpu_woken": 150, VCPU_WAKE: 900,
    "rx:vcpu_on_cpu>guest_entry": 300,
}  # fmt: skip
COUNT = 1000
HALT = HaltRate(1000.0, 900.0, 100.0, 0.0, 100.0, 0.02, 0.5, 20e3, 50e3, 1e6)


def many(value_ns: int, count: int = COUNT) -> Histogram:
    """So many packets that took the same."""
    one = Histogram()
    one.add(value_ns)
    return Histogram(count, value_ns * count, value_ns, dict.fromkeys(one.buckets, count))


def near(value_ns: float) -> Any:
    """Equal to whatever a histogram may tell of it."""
    return pytest.approx(value_ns, rel=0.07)


def mixed(*parts: tuple[int, int]) -> Histogram:
    """Values and how often each."""
    found = Histogram()
    for value_ns, count in parts:
        found.merge(many(value_ns, count))
    return found


def woken(
    tid: int = WORKER,
    idle: Optional[Histogram] = None,
    queued: Optional[Histogram] = None,
    **fields: Any,
) -> Wakeups:
    """Wake-ups of the worker, or of a vCPU."""
    role = Role.WORKER if tid == WORKER else Role.VCPU
    values: dict[str, Any] = {
        "migrations": 0,
        "vm_interface": TAP if role is Role.WORKER else None,
        **fields,
    }
    return Wakeups(tid, role, idle or Histogram(), queued or Histogram(), **values)


def rates(**fields: Any) -> Rates:
    """A quiet second: threads use a tenth of a CPU, halt polling wins."""
    threads = {tid: ThreadRate(None, 0.1, 0.0, 1.0, 0.0) for tid in (WORKER, VCPU, OTHER_VCPU)}
    values: dict[str, Any] = {
        "threads": threads,
        "neighbours": {},
        "halt": {"web-1": HALT},
        "interfaces": {},
        "idle": {},
        **fields,
    }
    return Rates(1, 1.0, **values)


def busy(tid: int, share: float, cpu: Optional[int] = None) -> dict[int, ThreadRate]:
    """Use of one thread."""
    quiet = dict(rates().threads)
    return {**quiet, tid: ThreadRate(cpu, share, 0.0, 1.0, 0.0)}


def neighbour(name: str, share: float) -> tuple[NeighbourRate, ...]:
    return (NeighbourRate(77, name, share),)


def topology(
    domain: Optional[Domain] = None,
    nic: Optional[Mapping[str, Any]] = None,
    tap: Optional[Mapping[str, Any]] = None,
    **fields: Any,
) -> Topology:
    """The host with one VM, changed."""
    found = replace(host.topology(host.NAMES[:1]), **fields)

    def changed(interface: Interface) -> Interface:
        changes = {"ens1f0": nic, TAP: tap}.get(interface.name) or {}
        return replace(interface, **changes)

    found = replace(found, interfaces=tuple(map(changed, found.interfaces)))
    return replace(found, domains=(domain,)) if domain is not None else found


def evidence(
    legs: Optional[Mapping[str, Histogram]] = None,
    wakeups: tuple[Wakeups, ...] = (),
    on: Optional[Topology] = None,
    count: int = COUNT,
    **fields: Any,
) -> Evidence:
    """A healthy way but for these legs; the totals are what the legs add up to."""
    here = on or topology()
    found = {leg_id: many(value, count) for leg_id, value in LEGS.items()}
    found.update(legs or {})
    for way in ("tx", "rx"):
        parts = [leg for leg_id, leg in found.items() if leg_id.startswith(way)]
        half, most = (sum(_of_all(part, count, q) for part in parts) for q in (0.5, 0.99))
        total = mixed((half, count - count // 50), (max(half, most), count // 50))
        total.sum_ns = sum(part.sum_ns for part in parts)
        found[f"{way}:total"] = total
    values: dict[str, Any] = {"rates": rates(), **fields}
    return Evidence(
        here, here.domains[0], TAP, found, wakeups={w.tid: w for w in wakeups}, **values
    )


def _of_all(part: Histogram, count: int, q: float) -> int:
    whole = mixed((0, max(0, count - part.count)))
    whole.merge(part)
    return whole.quantiles(q)[0]


def ids(given: Evidence) -> list[str]:
    """What is found."""
    return [finding.id for finding in judge(given)]


def one(given: Evidence, id_: str) -> Finding:
    """The only finding with this id."""
    (finding,) = [finding for finding in judge(given) if finding.id == id_]
    return finding
