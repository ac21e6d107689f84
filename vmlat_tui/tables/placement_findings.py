"""What stands out about where the threads and interrupts of a VM are at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from vmlat_tui.analysis.findings.finding import Severity
from vmlat_tui.model.topology import Domain, Interface, Topology
from vmlat_tui.tables.placement import PlacementRow, Remark, RowKind
from vmlat_tui.words import clean

#: A thread that takes this share of a CPU is busy.
_BUSY = 0.05


def judged(
    rows: Iterable[PlacementRow], topology: Topology, domain: Domain, nics: Sequence[Interface]
) -> list[PlacementRow]:
    """The rows with their findings, worst first; ``nics`` are the uplinks of the VM."""
    found = list(rows)
    judge = _Judge(found, topology, domain, nics)
    return [
        replace(row, findings=tuple(sorted(judge.findings(row), key=lambda f: -f.severity)))
        for row in found
    ]


class _Judge:
    """Knows who is on which CPU."""

    def __init__(
        self,
        rows: Sequence[PlacementRow],
        topology: Topology,
        domain: Domain,
        nics: Sequence[Interface],
    ) -> None:
        self._siblings = {cpu.number: cpu.siblings for cpu in topology.cpus}
        self._memory_nodes = domain.memory_nodes
        self._nics = nics
        self._nic_of = {irq.number: nic for nic in nics for irq in nic.irqs}
        self._threads_at: dict[int, list[PlacementRow]] = {}
        for row in rows:
            for cpu in row.cpus if row.kind is not RowKind.IRQ else ():
                self._threads_at.setdefault(cpu, []).append(row)

    def findings(self, row: PlacementRow) -> Iterator[Remark]:
        """About one of the rows."""
        yield from self._far(row)
        yield from self._company(row)

    def _far(self, row: PlacementRow) -> Iterator[Remark]:
        where = _list(row.nodes)
        if row.kind is RowKind.IRQ:
            nic = self._nic_of[row.number]
            if row.far:
                yield Remark(
                    "far NIC",
                    f"it goes to node {where}, {clean(nic.name)} is on node {nic.node}",
                    Severity.SUSPECT,
                )
            return
        if row.far:
            memory = _list(self._memory_nodes)
            worker = row.kind is RowKind.WORKER
            cost = ": every copy crosses nodes" if worker else ""
            light = Severity.SUSPECT if row.kind is RowKind.VCPU else Severity.NOTE
            yield Remark(
                "far node",
                f"it runs on node {where}, the VM's memory is on node {memory}{cost}",
                Severity.WRONG if worker else light,
            )
        if row.kind is RowKind.WORKER and row.nodes:
            for nic in self._nics:
                if nic.node is not None and nic.node not in row.nodes:
                    words = f"{clean(nic.name)} is on node {nic.node}, it runs on node {where}"
                    yield Remark("far NIC", words, Severity.NOTE)

    def _company(self, row: PlacementRow) -> Iterator[Remark]:
        for cpu in row.cpus:
            for other in self._threads_at.get(cpu, ()):
                if other.key != row.key:
                    yield from _together(row, other, cpu)
            # Interrupts of the other half of a core cost it little.
            for sibling in self._siblings.get(cpu, ()) if _busy(row) else ():
                for other in self._threads_at.get(sibling, ()):
                    if sibling != cpu and _busy(other):
                        words = f"{other.title} is busy on CPU {sibling}, a sibling of CPU {cpu}"
                        yield Remark("one core", words, Severity.SUSPECT)


def _together(row: PlacementRow, other: PlacementRow, cpu: int) -> Iterator[Remark]:
    if row.kind is RowKind.IRQ:
        if other.kind is not RowKind.QEMU:
            words = f"{other.title} is on CPU {cpu} as well, and has to make way"
            yield Remark("same CPU", words, Severity.NOTE)
    elif _bound(row) and _bound(other):
        words = f"{other.title} is bound to CPU {cpu} as well: one waits for the other"
        yield Remark("same CPU", words, _milder(row, other, Severity.WRONG))
    elif _busy(row) and _busy(other):
        words = f"{other.title} runs on CPU {cpu} as well, and both are busy"
        yield Remark("same CPU", words, Severity.SUSPECT)


def _bound(row: PlacementRow) -> bool:
    return len(row.allowed) == 1


def _busy(row: PlacementRow) -> bool:
    return row.run_share is not None and row.run_share >= _BUSY


def _milder(row: PlacementRow, other: PlacementRow, severity: Severity) -> Severity:
    """QEMU's main thread has little to do: it is no more than a note unless it is busy."""
    quiet = any(one.kind is RowKind.QEMU and not _busy(one) for one in (row, other))
    return Severity.NOTE if quiet else severity


def _list(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))
