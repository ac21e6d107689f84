"""Which segment was large in the packets that were slow."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.analysis.decomposition import Decomposition
from vmlat_tui.analysis.figures import rank
from vmlat_tui.analysis.plan import TOTAL, Item
from vmlat_tui.model.segments import QUANTITIES, Observer

#: What is slow unless the user says it: the slowest tenth.
_SHARE = 0.9


@dataclass(frozen=True)
class Blame:
    """A piece of the round trip in the slow packets; nanoseconds."""

    item: Item
    #: Slow packets in which it exceeded its own median by more than any other piece.
    largest: int
    median_ns: float
    slow_mean_ns: float
    #: By how much it exceeded its median, on average of the slow packets.
    excess_ns: float
    #: Of the excess of the whole round trip.
    share: Optional[float]


@dataclass(frozen=True)
class Slow:
    """The slow packets, and the pieces by how much they added."""

    threshold_ns: int
    count: int
    of: int
    blames: tuple[Blame, ...]


#: What is left out, step by step, until the packets of the rest join: logs of another time.
_LEFT_OUT = (
    tuple(q for q in QUANTITIES if q[0] == "U"),
    tuple(q for q in QUANTITIES if q[0] in "ELU"),
    tuple(q.id for q in QUANTITIES.values() if q.observer is Observer.RECEIVER_GUEST),
    tuple(q.id for q in QUANTITIES.values() if q.observer is Observer.RECEIVER_HOST),
    tuple(q.id for q in QUANTITIES.values() if q.observer is Observer.SENDER_HOST),
)


def single_packets(whole: Decomposition) -> Optional[Decomposition]:
    """The finest decomposition of single packets: of all observers, or of those whose logs join."""
    if whole.complete:
        return whole
    available = whole.available
    for quantities in _LEFT_OUT:
        available -= frozenset(quantities)
        if available == whole.available:
            continue
        part = Decomposition(whole.name, whole.collection, available=available)
        if part.complete and TOTAL in part.plan.items:
            return part
    return None


def slow(decomposition: Decomposition, threshold_ns: Optional[int] = None) -> Optional[Slow]:
    """None where no packet was seen by all; ``threshold_ns`` is what a slow packet takes at least.

    Without it, the slowest tenth is slow.
    """
    rows, whole = decomposition.rows, decomposition.item(TOTAL)
    if not decomposition.complete or whole is None:
        return None
    totals = decomposition.values(whole.formula, rows)
    if threshold_ns is None:
        threshold_ns = rank(sorted(totals), _SHARE)
    places = [place for place, total in enumerate(totals) if total >= threshold_ns]
    pieces = decomposition.plan.pieces
    if not places:
        return Slow(threshold_ns, 0, len(rows), ())
    medians, chosen = [], []
    for piece in pieces:
        values = decomposition.values(piece.formula, rows)
        medians.append(statistics.median(values))
        chosen.append([values[place] for place in places])
    whole_excess = statistics.fmean(totals[p] for p in places) - statistics.median(totals)
    largest = [0] * len(pieces)
    for packet in zip(*chosen):
        excesses = [value - median for value, median in zip(packet, medians)]
        largest[excesses.index(max(excesses))] += 1
    blames = []
    for piece, count, median, slow_values in zip(pieces, largest, medians, chosen):
        mean = statistics.fmean(slow_values)
        share = (mean - median) / whole_excess if whole_excess > 0 else None
        blames.append(Blame(piece, count, median, mean, mean - median, share))
    blames.sort(key=lambda blame: -blame.excess_ns)
    return Slow(threshold_ns, len(places), len(rows), tuple(blames))


def slowest(decomposition: Decomposition, most: int) -> list[int]:
    """Rows of the slowest packets, the slowest first."""
    whole = decomposition.item(TOTAL)
    if not decomposition.complete or whole is None:
        return []
    totals = decomposition.values(whole.formula, decomposition.rows)
    order = sorted(range(len(totals)), key=lambda place: -totals[place])
    return [decomposition.rows[place] for place in order[:most]]
