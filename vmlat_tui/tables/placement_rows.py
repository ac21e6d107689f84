"""Finds out who of a VM is where, and where each was in the last minute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from vmlat_tui.model.topology import Cpu, Domain, Interface, Thread, Topology
from vmlat_tui.session.snapshot import Place
from vmlat_tui.tables.placement import Placement, PlacementRow, RowKind
from vmlat_tui.tables.placement_findings import judged
from vmlat_tui.tables.trail import Recent, Sight, moves, recent
from vmlat_tui.words import clean


def placement(place: Place, domain: Domain) -> Optional[Placement]:
    """Of a VM at one moment; None if nothing is known about the host."""
    topology = place.now.topology
    if topology is None:
        return None
    past = recent(place)
    nics = _nics(topology, domain)
    found = _View(topology, domain, nics, past).rows()
    rows = judged({row.key: row for row in found}.values(), topology, domain, nics)
    online = [cpu for cpu in topology.cpus if cpu.online]
    isolated = tuple(cpu.number for cpu in online if cpu.isolated)
    host = [_isolated(isolated)] if isolated and rows else []
    return Placement(
        t_ns=place.now.t_ns,
        rows=(*host, *rows),
        nodes=_nodes(online) or _guessed(rows),
        offline=tuple(cpu.number for cpu in topology.cpus if not cpu.online),
        isolated=isolated,
        threads_per_core=max((len(cpu.siblings) for cpu in online), default=1),
        memory_nodes=domain.memory_nodes,
        nics={nic.name: nic.node for nic in nics},
        seconds=past.seconds,
    )


def _nics(topology: Topology, domain: Domain) -> list[Interface]:
    taps = {vnic.tap for vnic in domain.vnics}
    names = dict.fromkeys(n for way in topology.ways if way.tap in taps for n in way.uplinks)
    return [nic for nic in map(topology.interface, names) if nic]


def _isolated(cpus: tuple[int, ...]) -> PlacementRow:
    none = frozenset[int]()
    return PlacementRow(
        RowKind.HOST, 0, "isolated", "", (), (), False, frozenset(cpus), none, (), None
    )


def _nodes(online: list[Cpu]) -> dict[Optional[int], tuple[int, ...]]:
    found: dict[Optional[int], list[int]] = {}
    for cpu in sorted(online, key=lambda c: (c.node is None, c.node or 0, c.number)):
        found.setdefault(cpu.node, []).append(cpu.number)
    return {node: tuple(cpus) for node, cpus in found.items()}


def _guessed(rows: list[PlacementRow]) -> dict[Optional[int], tuple[int, ...]]:
    """Where the host's CPUs are not visible: those that the rows name."""
    named = {cpu for row in rows for cpu in (*row.cpus, *row.allowed, *row.seen)}
    return {None: tuple(sorted(named))} if named else {}


class _View:
    """Makes the rows of one VM."""

    def __init__(
        self,
        topology: Topology,
        domain: Domain,
        nics: list[Interface],
        past: Recent,
    ) -> None:
        self._cpus = {cpu.number: cpu for cpu in topology.cpus}
        self._domain = domain
        self._nics = nics
        self._past = past
        rates = past.moments[-1].rates
        self._rates = rates.threads if rates else {}

    def rows(self) -> Iterator[PlacementRow]:
        """Workers, vCPUs, QEMU's main thread, interrupts."""
        domain = self._domain
        for worker in domain.workers:
            queues = ",".join(map(clean, worker.queues))
            title = f"vhost {queues}" if queues else "vhost"
            yield self._thread(RowKind.WORKER, title, worker.thread)
        for vcpu in domain.vcpus:
            if vcpu.thread:
                yield self._thread(RowKind.VCPU, f"vCPU {vcpu.number}", vcpu.thread)
        for thread in domain.emulator:
            if thread.tid == domain.pid:
                yield self._thread(RowKind.QEMU, "QEMU main", thread)
        for nic in self._nics:
            trails = self._past.irqs(nic.name)
            for irq in nic.irqs:
                yield self._row(
                    RowKind.IRQ,
                    irq.number,
                    f"IRQ {irq.number}",
                    irq.name,
                    irq.effective,
                    irq.cpus,
                    trails.get(irq.number, ()),
                    None,
                    () if nic.node is None else (nic.node,),
                )

    def _thread(self, kind: RowKind, title: str, thread: Thread) -> PlacementRow:
        trail = self._past.thread(thread.tid)
        rate = self._rates.get(thread.tid)
        cpu = rate.cpu if rate and rate.cpu is not None else thread.cpu
        return self._row(
            kind,
            thread.tid,
            title,
            thread.name,
            () if cpu is None else (cpu,),
            thread.cpus,
            trail,
            rate.run_share if rate else None,
            self._domain.memory_nodes,
        )

    def _row(
        self,
        kind: RowKind,
        number: int,
        title: str,
        name: str,
        cpus: tuple[int, ...],
        allowed: tuple[int, ...],
        trail: tuple[Sight, ...],
        run_share: Optional[float],
        home: tuple[int, ...],
    ) -> PlacementRow:
        nodes = {self._cpus[cpu].node for cpu in cpus if cpu in self._cpus}
        known = tuple(sorted(node for node in nodes if node is not None))
        seen = frozenset(cpu for sight in trail for cpu in sight.cpus)
        far = bool(home) and any(node not in home for node in known)
        return PlacementRow(
            kind, number, title, name, cpus, known, far, frozenset(allowed), seen, moves(trail),
            run_share,
        )  # fmt: skip
