"""Who of a VM is on which CPU: its vhost workers, vCPUs, QEMU itself, and its NICs' interrupts.

:func:`vmlat_tui.tables.placement_rows.placement` finds it out.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.analysis.findings.finding import Severity
from vmlat_tui.tables.trail import Move


class RowKind(enum.Enum):
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
class Remark:
    """What stands out about where one thread or interrupt is: a word, and the sentence."""

    word: str
    sentence: str
    severity: Severity


@dataclass(frozen=True)
class PlacementRow:
    """A thread or an interrupt.

    ``number`` is its tid or the interrupt's number, ``cpus`` where it is now (several only for an
    interrupt; none where that is not known), ``allowed`` its affinity, ``seen`` where it was in the
    last minute, ``run_share`` of one CPU.  ``far`` says that a node of ``nodes`` is not one where
    it belongs: that of the VM's memory, for an interrupt that of its NIC.
    """

    kind: RowKind
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
    findings: tuple[Remark, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        """Identity."""
        return (self.kind.value, self.number)

    @property
    def severity(self) -> Severity:
        """That of its worst finding."""
        return max((finding.severity for finding in self.findings), default=Severity.NOTE)

    def marks(self) -> tuple[tuple[Mark, Collection[int]], ...]:
        """What CPUs are to it: of those that are several things the first counts."""
        if self.kind is RowKind.HOST:
            return ((Mark.ISOLATED, self.allowed),)
        here = Mark.ODD if self.severity > Severity.NOTE else Mark.HERE
        return ((here, self.cpus), (Mark.SEEN, self.seen), (Mark.MAY, self.allowed))

    def mark(self, cpu: int) -> Optional[Mark]:
        """What a CPU is to it; None if nothing."""
        return next((mark for mark, cpus in self.marks() if cpu in cpus), None)


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
