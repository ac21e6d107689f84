"""What the rules of findings look at, from a moment of a history and the span before it."""

from __future__ import annotations

from typing import Optional

from vmlat_tui.analysis.findings.evidence import Drop, Evidence
from vmlat_tui.model.points import BOTH, Direction
from vmlat_tui.model.rates import Rates
from vmlat_tui.session import counted, rates, window
from vmlat_tui.session.snapshot import Place
from vmlat_tui.session.window import Span


def evidence(
    place: Place, tap: str, span: Span, mark_ns: Optional[int] = None
) -> Optional[Evidence]:
    """Of one vNIC; None where nothing is measured, or no VM is known to own it."""
    topology = place.now.topology
    domain = topology.domain_of(tap) if topology else None
    if topology is None or domain is None or place.now.stats is None:
        return None
    return Evidence(
        topology,
        domain,
        tap,
        window.histograms(place, tap, span, mark_ns),
        {d: counted.absences(place, tap, d.id, span, mark_ns) for d in BOTH},
        counted.wakeups(place, span, mark_ns),
        tuple(
            Drop(Direction[direction.upper()], point, reason, function, packets)
            for (direction, _, point, reason, function), packets in counted.drops(
                place, tap, span, mark_ns
            ).items()
        ),
        _rates(place, span, mark_ns),
    )


def _rates(place: Place, span: Span, mark_ns: Optional[int]) -> Optional[Rates]:
    """The fast counters of the span, whose readings are not those of the legs."""
    seen = (m.rates for m in window.stretch(place, span, mark_ns))
    intervals = list({id(one): one for one in seen if one is not None}.values())
    return rates.pooled(intervals) or place.now.rates
