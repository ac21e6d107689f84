"""The legs in which a thread was woken, divided into what it waited for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Sureness
from vmlat_tui.analysis.findings.spent import Split, split
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.points import Direction
from vmlat_tui.model.wakeups import Role, Wakeups

#: From here on the packets' wake-ups are of one kind for sure.
_PURE = 0.9
_LEGS = (
    (Direction.TX, Role.WORKER, "tx:vhost_woken>vhost_on_cpu"),
    (Direction.RX, Role.WORKER, "rx:vhost_woken>vhost_on_cpu"),
    (Direction.RX, Role.VCPU, "rx:vcpu_woken>vcpu_on_cpu"),
)


class Wake(NamedTuple):
    """One leg from waking to running, and the wake-ups of its threads (all of them, also those
    that were for no packet of this direction).
    """

    direction: Direction
    role: Role
    leg_id: str
    leg: Histogram
    parts: Split
    rows: tuple[Wakeups, ...]

    @property
    def sureness(self) -> Sureness:
        """How sure the division is."""
        return Sureness.MEASURED if self.parts.purity >= _PURE else Sureness.LIKELY


def wakes(evidence: Evidence) -> Iterator[Wake]:
    """Those that packets passed and whose wake-ups were counted."""
    for direction, role, leg_id in _LEGS:
        leg, rows = evidence.leg(leg_id), evidence.woken(role)
        if leg.count and rows:
            idle, queued = Histogram(), Histogram()
            for row in rows:
                idle.merge(row.idle)
                queued.merge(row.queued)
            yield Wake(direction, role, leg_id, leg, split(leg, idle, queued), rows)
