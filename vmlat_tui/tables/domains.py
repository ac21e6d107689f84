"""The table of VMs, and what is known about one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.analysis.findings.finding import Finding, Severity
from vmlat_tui.analysis.findings.static import headline, standing
from vmlat_tui.model.topology import Domain, DomainState, Topology, Vnic, Way
from vmlat_tui.session.snapshot import Place
from vmlat_tui.tables.columns import COUNT, NAME, RATE, SPARK, TEXT, Column
from vmlat_tui.words import clean

_TREND = 30


@dataclass(frozen=True)
class DomainRow:
    """One vNIC of a VM, or a VM without one.  Rates are packets a second, from the VM's side."""

    domain: Domain
    vnic: Optional[Vnic]
    way: Optional[Way]
    findings: tuple[Finding, ...]
    tx_rate: Optional[float]
    rx_rate: Optional[float]
    drop_rate: Optional[float]
    trend: tuple[Optional[float], ...]
    watched: bool

    @property
    def key(self) -> tuple[str, str]:
        """Identity: the VM and its tap."""
        return (self.domain.uuid or self.domain.name, self.tap or "")

    @property
    def tap(self) -> Optional[str]:
        """The vNIC's device on the host."""
        return self.vnic.tap if self.vnic else None

    @property
    def verdict(self) -> str:
        """A word for the list."""
        if self.domain.state is not DomainState.RUNNING:
            return ""
        if self.vnic is None:
            return "no device here" if self.domain.vnics else "no vNIC"
        return headline([finding.word for finding in self.findings]) or "ok"

    @property
    def role(self) -> str:
        """How the verdict is drawn."""
        if self.vnic is None or self.domain.state is not DomainState.RUNNING:
            return "dim"
        if not self.findings:
            return "good"
        return {Severity.WRONG: "bad", Severity.SUSPECT: "warn"}.get(self.findings[0].severity, "")

    @property
    def glyph(self) -> str:
        """The same without colour."""
        return {"bad": "▲", "warn": "▲", "good": " ", "dim": " "}.get(self.role, "·")


def rows(place: Place) -> list[DomainRow]:
    """One row per vNIC, running VMs first, by name."""
    topology = place.now.topology
    if topology is None:
        return []
    ways = {way.tap: way for way in topology.ways}
    ordered = sorted(
        topology.domains, key=lambda d: (d.state is not DomainState.RUNNING, d.name, d.uuid or "")
    )
    trends = _trends(place)
    return [
        _row(place, topology, ways, trends, domain, vnic)
        for domain in ordered
        # A vNIC without a device on this host has nothing that could be measured.
        for vnic in [v for v in domain.vnics if v.tap] or (None,)
    ]


def _row(
    place: Place,
    topology: Topology,
    ways: Mapping[str, Way],
    trends: Mapping[str, tuple[Optional[float], ...]],
    domain: Domain,
    vnic: Optional[Vnic],
) -> DomainRow:
    tap = vnic.tap if vnic and vnic.tap else ""
    rates = place.now.rates
    link = rates.interfaces.get(tap) if rates else None
    return DomainRow(
        domain,
        vnic,
        ways.get(tap),
        tuple(standing(topology, domain, vnic)) if vnic else (),
        # What the tap receives is what the guest sends.
        tx_rate=link.get("rx_packets") if link else None,
        rx_rate=link.get("tx_packets") if link else None,
        drop_rate=link.get("rx_dropped", 0) + link.get("tx_dropped", 0) if link else None,
        trend=trends.get(tap, ()),
        watched=tap in place.now.watched,
    )


def _trends(place: Place) -> dict[str, tuple[Optional[float], ...]]:
    recent = [m.rates for m in place.moments[max(0, place.index - _TREND) : place.index + 1]]
    taps = {tap for rates in recent if rates for tap in rates.interfaces}
    found: dict[str, tuple[Optional[float], ...]] = {}
    for tap in taps:
        links = (rates.interfaces.get(tap) if rates else None for rates in recent)
        found[tap] = tuple(
            link.get("rx_packets", 0) + link.get("tx_packets", 0) if link else None
            for link in links
        )
    return found


def uplinks(row: DomainRow) -> Optional[str]:
    """Names of the uplinks, with a mark where the host alone cannot say which is used."""
    if row.way is None or not row.way.uplinks:
        return None
    return ",".join(row.way.uplinks)


COLUMNS: tuple[Column[DomainRow], ...] = (
    Column("name", "VM", 14, NAME, lambda r: r.domain.name, 0, 20),
    Column("state", "state", 8, TEXT, lambda r: r.domain.state.value, 5),
    Column("tap", "vNIC", 8, NAME, lambda r: r.tap, 2, 15),
    Column("backend", "by", 5, TEXT, lambda r: r.vnic.backend.value if r.vnic else None, 8, 10,
           help="who moves the packets between guest and host"),
    Column("vcpus", "vCPU", 4, COUNT, lambda r: len(r.domain.vcpus), 7),
    Column("uplink", "uplink", 8, NAME, uplinks, 6, 16, help="where its way leaves the host"),
    Column("tx", "TX pps", 8, RATE, lambda r: r.tx_rate, 1, help="packets a second from the VM"),
    Column("rx", "RX pps", 8, RATE, lambda r: r.rx_rate, 1, help="packets a second to the VM"),
    Column("drops", "drop/s", 6, RATE, lambda r: r.drop_rate, 9,
           role=lambda r: "warn" if r.drop_rate else "dim"),
    Column("trend", "trend", 8, SPARK, lambda r: r.trend, 4, 24, lambda r: "spark"),
    Column("verdict", "looks", 25, TEXT, lambda r: f"{r.glyph} {r.verdict}", 0, 28,
           lambda r: r.role, help="what stands out from placement and settings alone"),
)  # fmt: skip


def emphasis(row: DomainRow) -> tuple[str, str]:
    """A VM that is measured has a mark; one that does not run is dim."""
    if row.watched:
        return "●", "strong"
    return "", "" if row.domain.state is DomainState.RUNNING else "dim"


def details(row: DomainRow) -> list[tuple[str, str]]:
    """(role, sentence) about a VM: what it is, its way, and every finding."""
    lines = [("dim", _identity(row))]
    if row.way is not None:
        way = " → ".join(clean(hop.device) for hop in row.way.hops)
        choice = f"  (which uplink: {clean(row.way.choice)})" if row.way.choice else ""
        lines.append(("dim", f"way {way}{choice}"))
    for finding in row.findings:
        role = {Severity.WRONG: "bad", Severity.SUSPECT: "warn"}.get(finding.severity, "")
        glyph = "·" if finding.severity is Severity.NOTE else "▲"
        lines.append((role, f"{glyph} {finding.word}: {clean(finding.sentence)}"))
    if row.vnic is None:
        count = len(row.domain.vnics)
        why = f"none of its {count} vNICs has a device on this host" if count else "it has no vNIC"
        lines.append(("dim", f"nothing to measure: {why}"))
    elif not row.findings and row.domain.state is DomainState.RUNNING:
        lines.append(("good", "nothing stands out from placement and settings"))
    return lines


def _identity(row: DomainRow) -> str:
    domain, vnic = row.domain, row.vnic
    parts = [f"QEMU pid {domain.pid}" if domain.pid else "no process"]
    if domain.memory_kb:
        nodes = ",".join(map(str, domain.memory_nodes))
        where = f" on node {nodes}" if nodes else ""
        parts.append(f"{domain.memory_kb / (1 << 20):.3g} GiB{where}")
    if vnic is not None:
        parts.append(clean(vnic.mac))
        parts += [f"{clean(a.ip)} ({clean(a.source)})" for a in vnic.addresses[:2]]
        parts.append(f"{vnic.queues} queue{'s' if vnic.queues != 1 else ''}")
    return " · ".join(parts)
