"""Several vNICs in one table: the whole way and the slowest leg of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Optional

from vmlat_tui.model.points import BOTH
from vmlat_tui.session import window
from vmlat_tui.session.snapshot import Place
from vmlat_tui.session.window import LegRow, Span
from vmlat_tui.tables.columns import COUNT, NAME, PERCENT, SPARK, TEXT, TIME, Column
from vmlat_tui.tables.legs import long_name


@dataclass(frozen=True)
class Measured:
    """One vNIC that is measured: its VM, and the legs of both directions in path order."""

    vm: str
    vnic: str
    legs: tuple[LegRow, ...]


def measured(place: Place, span: Span, mark_ns: Optional[int] = None) -> list[Measured]:
    """All of them, by the names of their devices."""
    topology = place.now.topology
    found = []
    for vnic in window.vnics(place):
        domain = topology.domain_of(vnic) if topology else None
        rows = [row for d in BOTH for row in window.legs(place, vnic, d, span, mark_ns)]
        found.append(Measured(domain.name if domain else "?", vnic, tuple(rows)))
    return found


@dataclass(frozen=True)
class CompareRow:
    """One direction of one vNIC: its whole way and its slowest leg."""

    name: str
    total: LegRow
    slowest: Optional[LegRow]
    worst: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Identity."""
        return (self.total.vnic, self.total.leg.direction.id)


def rows(found: Sequence[Measured]) -> list[CompareRow]:
    """Both directions of every vNIC; the worst median of each direction is marked."""
    every = [
        CompareRow(
            one.vm, total, next((r for r in one.legs if r.slowest and _same(r, total)), None)
        )
        for one in found
        for total in one.legs
        if total.total
    ]
    for direction in BOTH:
        same = [r for r in every if r.total.leg.direction is direction and r.total.count]
        if len(same) > 1:
            worst = max(same, key=lambda r: r.total.p50_ns)
            every[every.index(worst)] = replace(worst, worst=True)
    return every


def _same(row: LegRow, other: LegRow) -> bool:
    return row.leg.direction is other.leg.direction


def _known(row: CompareRow, value: int) -> Optional[int]:
    return value if row.total.count else None


COLUMNS: tuple[Column[CompareRow], ...] = (
    Column("name", "VM", 12, NAME, lambda r: r.name, 0, 18),
    Column("vnic", "vNIC", 7, NAME, lambda r: r.total.vnic, 5, 15),
    Column("direction", "dir", 3, TEXT, lambda r: r.total.leg.direction.name, 0),
    Column("count", "pkts", 7, COUNT, lambda r: r.total.count, 4),
    Column("p50", "p50", 7, TIME, lambda r: _known(r, r.total.p50_ns), 0),
    Column("p90", "p90", 7, TIME, lambda r: _known(r, r.total.p90_ns), 6),
    Column("p99", "p99", 7, TIME, lambda r: _known(r, r.total.p99_ns), 0),
    Column("max", "max", 7, TIME, lambda r: _known(r, r.total.max_ns), 7),
    Column("trend", "trend", 8, SPARK, lambda r: r.total.trend, 8, 24, lambda r: "spark"),
    Column("slowest", "slowest leg", 20, TEXT,
           lambda r: long_name(r.slowest.leg) if r.slowest else None, 1, 27),
    Column("share", "", 5, PERCENT, lambda r: r.slowest.share if r.slowest else None, 3),
)  # fmt: skip


def emphasis(row: CompareRow) -> tuple[str, str]:
    """The worst of a direction stands out."""
    return ("▲", "bad") if row.worst else ("", "" if row.total.count else "dim")
