"""Who of a VM is on which CPU: its vhost workers, vCPUs, QEMU itself, and its NICs' interrupts."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Optional

from vmlat_tui.analysis.placement import Finding, Weight
from vmlat_tui.model.topology import Cpu, Domain, Interface, Thread, Topology
from vmlat_tui.report.trail import Move, Recent, Sight, moves, recent
from vmlat_tui.report.words import clean
from vmlat_tui.session.snapshot import Place

#: A thread that takes this share of a CPU is busy.
_BUSY = 0.05


class Kind(enum.Enum):
    """What a row is about."""

    HOST = "host"
    WORKER = "vhost worker"
    VCPU = "vCPU"
    QEMU = "QEMU"
    IRQ = "interrupt"


class Mark(enum.Enum):
    """What a CPU is to a row: glyph and words."""

    HERE = "●", "runs here"
    ODD = "▲", "runs here, with a finding"
    SEEN = "○", "ran here"
    MAY = "·", "may run here"
    ISOLATED = "i", "isolated"

    @property
    def glyph(self) -> str:
        """One cell."""
        return self.value[0]

    @property
    def words(self) -> str:
        """For exports."""
        return self.value[1]


@dataclass(frozen=True)
class PlacementRow:
    """A thread or an interrupt.

    ``number`` is its tid or the interrupt's number, ``cpus`` where it is now (several only for an
    interrupt; none where that is not known), ``allowed`` its affinity, ``seen`` where it was in the
    last minute, ``run_share`` of one CPU.  ``far`` says that a node of ``nodes`` is not one where
    it belongs: that of the VM's memory, for an interrupt that of its NIC.
    """

    kind: Kind
    number: int
    title: str
    name: str
    cpus: tuple[int, ...]
    nodes: tuple[int, ...]
    far: bool
    allowed: frozenset[int]
    seen: frozenset[int]
    moves: tuple[Move, ...]
    run_share: Optional[float]
    findings: tuple[Finding, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        """Identity."""
        return (self.kind.value, self.number)

    @property
    def weight(self) -> Weight:
        """That of its worst finding."""
        return max((finding.weight for finding in self.findings), default=Weight.NOTE)

    def mark(self, cpu: int) -> Optional[Mark]:
        """What a CPU is to it; None if nothing."""
        if self.kind is Kind.HOST:
            return Mark.ISOLATED if cpu in self.allowed else None
        if cpu in self.cpus:
            return Mark.ODD if self.weight > Weight.NOTE else Mark.HERE
        if cpu in self.seen:
            return Mark.SEEN
        return Mark.MAY if cpu in self.allowed else None


@dataclass(frozen=True)
class Placement:
    """Of one VM at one moment.

    ``nodes`` are the CPUs that are online by NUMA node (None: not known), ``nics`` the uplinks of
    its vNICs with their nodes, ``seconds`` how far back moves were seen.
    """

    t_ns: int
    rows: tuple[PlacementRow, ...]
    nodes: Mapping[Optional[int], tuple[int, ...]]
    offline: tuple[int, ...]
    isolated: tuple[int, ...]
    threads_per_core: int
    memory_nodes: tuple[int, ...]
    nics: Mapping[str, Optional[int]]
    seconds: float

    @property
    def cpus(self) -> tuple[int, ...]:
        """All that are online, node by node."""
        return tuple(cpu for cpus in self.nodes.values() for cpu in cpus)


def placement(place: Place, domain: Domain) -> Optional[Placement]:
    """None if nothing is known about the host."""
    topology = place.now.topology
    if topology is None:
        return None
    past = recent(place)
    nics = _nics(topology, domain)
    rows = _View(topology, domain, nics, past).rows()
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
        Kind.HOST, 0, "isolated", "", (), (), False, frozenset(cpus), none, (), None
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
        self._nic_of: dict[int, Interface] = {}
        self._past = past
        rates = past.moments[-1].rates
        self._rates = rates.threads if rates else {}
        self._threads_at: dict[int, list[PlacementRow]] = {}

    def rows(self) -> list[PlacementRow]:
        """Workers, vCPUs, QEMU's main thread, interrupts, each with its findings, worst first."""
        found = list(self._found())
        for row in found:
            for cpu in row.cpus if row.kind is not Kind.IRQ else ():
                self._threads_at.setdefault(cpu, []).append(row)
        return [self._judged(row) for row in found]

    def _found(self) -> Iterator[PlacementRow]:
        domain = self._domain
        for worker in domain.workers:
            queues = ",".join(map(clean, worker.queues))
            title = f"vhost {queues}" if queues else "vhost"
            yield self._thread(Kind.WORKER, title, worker.thread)
        for vcpu in domain.vcpus:
            if vcpu.thread:
                yield self._thread(Kind.VCPU, f"vCPU {vcpu.number}", vcpu.thread)
        for thread in domain.emulator:
            if thread.tid == domain.pid:
                yield self._thread(Kind.QEMU, "QEMU main", thread)
        for nic in self._nics:
            trails = self._past.irqs(nic.name)
            for irq in nic.irqs:
                self._nic_of[irq.number] = nic
                yield self._row(
                    Kind.IRQ,
                    irq.number,
                    f"IRQ {irq.number}",
                    irq.name,
                    irq.effective,
                    irq.cpus,
                    trails.get(irq.number, ()),
                    None,
                    () if nic.node is None else (nic.node,),
                )

    def _thread(self, kind: Kind, title: str, thread: Thread) -> PlacementRow:
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
        kind: Kind,
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

    # ---- what stands out ------------------------------------------------------------------------

    def _judged(self, row: PlacementRow) -> PlacementRow:
        found = [*self._far(row), *self._company(row)]
        return replace(row, findings=tuple(sorted(found, key=lambda f: -f.weight)))

    def _far(self, row: PlacementRow) -> Iterator[Finding]:
        where = _list(row.nodes)
        if row.kind is Kind.IRQ:
            nic = self._nic_of[row.number]
            if row.far:
                yield Finding(
                    "far NIC",
                    f"it goes to node {where}, {clean(nic.name)} is on node {nic.node}",
                    Weight.SUSPECT,
                )
            return
        if row.far:
            memory = _list(self._domain.memory_nodes)
            worker = row.kind is Kind.WORKER
            cost = ": every copy crosses nodes" if worker else ""
            light = Weight.SUSPECT if row.kind is Kind.VCPU else Weight.NOTE
            yield Finding(
                "far node",
                f"it runs on node {where}, the VM's memory is on node {memory}{cost}",
                Weight.WRONG if worker else light,
            )
        if row.kind is Kind.WORKER and row.nodes:
            for nic in self._nics:
                if nic.node is not None and nic.node not in row.nodes:
                    words = f"{clean(nic.name)} is on node {nic.node}, it runs on node {where}"
                    yield Finding("far NIC", words, Weight.NOTE)

    def _company(self, row: PlacementRow) -> Iterator[Finding]:
        for cpu in row.cpus:
            for other in self._threads_at.get(cpu, ()):
                if other.key != row.key:
                    yield from _together(row, other, cpu)
            # Interrupts of the other half of a core cost it little.
            for sibling in self._siblings(cpu) if _busy(row) else ():
                for other in self._threads_at.get(sibling, ()):
                    if sibling != cpu and _busy(other):
                        words = f"{other.title} is busy on CPU {sibling}, a sibling of CPU {cpu}"
                        yield Finding("one core", words, Weight.SUSPECT)

    def _siblings(self, cpu: int) -> tuple[int, ...]:
        found = self._cpus.get(cpu)
        return found.siblings if found else ()


def _together(row: PlacementRow, other: PlacementRow, cpu: int) -> Iterator[Finding]:
    if row.kind is Kind.IRQ:
        if other.kind is not Kind.QEMU:
            words = f"{other.title} is on CPU {cpu} as well, and has to make way"
            yield Finding("same CPU", words, Weight.NOTE)
    elif _bound(row) and _bound(other):
        words = f"{other.title} is bound to CPU {cpu} as well: one waits for the other"
        yield Finding("same CPU", words, _milder(row, other, Weight.WRONG))
    elif _busy(row) and _busy(other):
        words = f"{other.title} runs on CPU {cpu} as well, and both are busy"
        yield Finding("same CPU", words, Weight.SUSPECT)


def _bound(row: PlacementRow) -> bool:
    return len(row.allowed) == 1


def _busy(row: PlacementRow) -> bool:
    return row.run_share is not None and row.run_share >= _BUSY


def _milder(row: PlacementRow, other: PlacementRow, weight: Weight) -> Weight:
    """QEMU's main thread has little to do: it is no more than a note unless it is busy."""
    quiet = any(one.kind is Kind.QEMU and not _busy(one) for one in (row, other))
    return Weight.NOTE if quiet else weight


def _list(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))
