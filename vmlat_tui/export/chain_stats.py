"""Statistics of a chain: stages and legs of all packets, stages of those that were seen singly.

The kernel counts each leg, the time between two points that a packet passed one after the other;
which legs belong to one packet it does not keep.  So of a stage that consists of several legs
the mean over all packets is exact (sums over the number of packets), but quantiles and maximum are
known only of packets that were sent singly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from vmlat_tui.export.chain import Chain, Passed
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.points import path
from vmlat_tui.protocol.stats import StatsFrame

#: Of a hundred packets of a stage, so many may have passed only one of its ends, or entered or left
#: in between (packets on the way, skipped probes), and its mean is still shown, as inexact.
_LOOSE_PERCENT = 1


@dataclass(frozen=True)
class ChainLeg:
    """One leg of the kernel's; ``start`` and ``end`` are points."""

    start: str
    end: str
    histogram: Histogram

    @property
    def title(self) -> str:
        """``tun_out -> vhost_take``."""
        return f"{self.start} -> {self.end}"


@dataclass(frozen=True)
class StageRow:
    """From one mark to another, of all packets.

    ``legs`` are those between the two.  ``count`` packets arrived at its end; ``loose`` passed only
    a part of it.
    """

    name: str
    legs: tuple[ChainLeg, ...]
    count: int
    loose: int

    @property
    def sum_ns(self) -> int:
        """What all of its legs took together."""
        return sum(leg.histogram.sum_ns for leg in self.legs)

    @property
    def exact(self) -> bool:
        """Every packet that passed a part of it passed all of it."""
        return not self.loose

    @property
    def mean_ns(self) -> Optional[float]:
        """None where too many packets passed only a part."""
        if not self.count or 100 * self.loose > _LOOSE_PERCENT * self.count:
            return None
        return self.sum_ns / self.count

    @property
    def histogram(self) -> Optional[Histogram]:
        """There is one if the stage is a single leg."""
        return self.legs[0].histogram if len(self.legs) == 1 and self.exact else None


def vnics(chain: Chain, stats: StatsFrame) -> list[str]:
    """The vNICs whose packets passed a leg of the chain."""
    names = dict.fromkeys(row.vm_interface or "" for row in stats.legs)
    return [name for name in names if leg_rows(chain, stats, name)]


def _direction_rows(chain: Chain, stats: StatsFrame, vnic: str) -> Iterator[ChainLeg]:
    for row in stats.legs:
        start, arrow, end = row.leg.partition(":")[2].partition(">")
        if row.direction == chain.direction.id and (row.vm_interface or "") == vnic and arrow:
            yield ChainLeg(start, end, row.histogram)


def leg_rows(chain: Chain, stats: StatsFrame, vnic: str) -> list[ChainLeg]:
    """The legs within the chain, in the order of the path."""
    order = {point: number for number, point in enumerate(chain.points)}
    within = (
        row
        for row in _direction_rows(chain, stats, vnic)
        if row.start in order and row.end in order
    )
    return sorted(within, key=lambda row: (order[row.start], order[row.end]))


def stage_rows(chain: Chain, stats: StatsFrame, vnic: str) -> list[StageRow]:
    """Each stage, then each total that packets passed."""
    rows = list(_direction_rows(chain, stats, vnic))
    names = [mark.name for mark in chain.marks]
    pairs = [*zip(names, names[1:]), *chain.totals]
    found = (_stage(chain, rows, start, end) for start, end in pairs)
    return [stage for stage in found if stage.count]


def _stage(chain: Chain, rows: Sequence[ChainLeg], start: str, end: str) -> StageRow:
    order = {step.point.id: number for number, step in enumerate(path(chain.direction))}
    first, last = order[chain.point(start)], order[chain.point(end)]
    legs, set_out, arrived, crossed = [], 0, 0, 0
    #: Point -> packets that came to it less those that went on.
    stayed: Counter[int] = Counter()
    for row in rows:
        a, b = order.get(row.start), order.get(row.end)
        if a is None or b is None:
            continue
        count = row.histogram.count
        if first <= a and b <= last:
            legs.append((a, b, row))
            set_out += count * (a == first)
            arrived += count * (b == last)
            stayed[a] -= count
            stayed[b] += count
        elif a < last and first < b:
            crossed += count
    inner = sum(abs(n) for point, n in stayed.items() if point not in (first, last))
    ordered = sorted(legs, key=lambda leg: leg[:2])
    loose = max(abs(set_out - arrived), inner) + crossed
    return StageRow(f"{start}->{end}", tuple(row for _, _, row in ordered), arrived, loose)


class Singles:
    """Stages of the packets that were looked at singly, by vNIC and name."""

    def __init__(self, least_ns: int = 0) -> None:
        """None yet.  ``least_ns``: those of a smaller total are left out."""
        self.least_ns = least_ns
        self.packets: Counter[str] = Counter()
        self._stages: dict[tuple[str, str], Histogram] = {}

    def add(self, passed: Passed) -> None:
        """Count a packet that completed."""
        vnic = passed.frame.vm_interface or ""
        self.packets[vnic] += 1
        values = {stretch.name: stretch.ns for stretch in (*passed.stretches, *passed.totals)}
        for name, ns in values.items():
            self._stages.setdefault((vnic, name), Histogram()).add(max(0, ns))

    def rows(self, chain: Chain, vnic: str) -> list[tuple[str, Histogram]]:
        """Those of a vNIC: the stages and totals of the chain, then what skips one."""
        names = [mark.name for mark in chain.marks]
        usual = [f"{a}->{b}" for a, b in (*zip(names, names[1:]), *chain.totals)]
        found = {name: h for (at, name), h in self._stages.items() if at == vnic}
        order = [*(n for n in usual if n in found), *sorted(found.keys() - set(usual))]
        return [(name, found[name]) for name in order]


def stage_json(row: StageRow) -> dict[str, Any]:
    """One stage of all packets."""
    return {
        "stage": row.name,
        "count": row.count,
        "sum_ns": row.sum_ns,
        "mean_ns": row.mean_ns,
        "exact": row.exact,
        "partial": row.loose,
    }
