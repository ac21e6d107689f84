"""Arithmetic of the time that packets spent on one thing, and whether it matters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Optional

from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Explained
from vmlat_tui.model.histogram import Histogram, bounds, middle
from vmlat_tui.model.points import Direction

#: A cause matters if it explains so much of the median or of the 99th percentile, and no less than
#: that.  Histograms are within 7 %, so a twentieth is about the least that can be told apart from
#: nothing; and below a microsecond there is nothing that a setting could win.
SHARE, LEAST_NS = 0.05, 1_000
#: Loss has no time, and one packet in a thousand already costs TCP more than any wait here.
LOSS = 0.001
#: Fewer packets say nothing; the slowest hundredth of fewer than a hundred is one packet.
PACKETS, PACKETS_P99 = 10, 100
#: A leg that takes longer than so many typical ones is more than code that runs.
WAITING = 4
#: What happens between these points is code, and a queue that is mostly empty.
_CODE = frozenset(
    {"tun_in>vnet_rx", "vnet_rx>switch_in", "switch_in>ovs_dp", "ovs_dp>switch_out",
     "switch_in>switch_out", "switch_out>phy_queue", "switch_out>vnet_queue", "phy_rx>switch_in",
     "vhost_on_cpu>vhost_take", "vhost_take>vhost_signal", "vnet_queue>tun_out",
     "tun_in>switch_in", "vnet_rx>phy_queue", "phy_rx>vnet_queue"}
)  # fmt: skip


def explained(
    evidence: Evidence,
    direction: Direction,
    parts: Iterable[Histogram],
    factor: float = 1.0,
    lost: float = 0.0,
) -> Optional[Explained]:
    """The time of these parts of the way; None if it does not matter.

    A packet may pass several parts, but each only once.  ``factor``: at most so much of it counts.
    With several parts their quantiles are added, as if a packet that is slow in one were slow in
    all: use several only for what is said to be the most that it can be.
    """
    total = evidence.total(direction)
    if total.count < PACKETS:
        return None
    p50_ns = p99_ns = 0
    sum_ns = 0.0
    for part in parts:
        half, most = _over_all(part, total.count).quantiles(0.5, 0.99)
        p50_ns, p99_ns, sum_ns = p50_ns + half, p99_ns + most, sum_ns + part.sum_ns
    total_p50_ns, total_p99_ns = total.quantiles(0.5, 0.99)
    result = Explained(
        direction,
        total.count,
        min(round(p50_ns * factor), total_p50_ns),
        min(round(p99_ns * factor), total_p99_ns),
        total_p50_ns,
        total_p99_ns,
        min(sum_ns * factor, total.sum_ns) / total.count,
        min(sum_ns * factor / total.sum_ns, 1.0) if total.sum_ns else 0.0,
        lost,
    )
    return result if material(result) else None


def material(time: Explained) -> bool:
    """Whether it matters."""
    figures = [(time.p50_ns, time.total_p50_ns)]
    if time.packets >= PACKETS_P99:
        figures.append((time.p99_ns, time.total_p99_ns))
    return time.lost >= LOSS or any(part >= max(LEAST_NS, SHARE * whole) for part, whole in figures)


def _over_all(part: Histogram, packets: int) -> Histogram:
    """With a zero for each packet that does not come by."""
    others = max(0, packets - part.count)
    whole = Histogram(others, 0, 0, {0: others} if others else {})
    whole.merge(part)
    return whole


# ---- parts of a distribution --------------------------------------------------------------------


def kept(whole: Histogram, counts: dict[int, int]) -> Histogram:
    """Only so many of each bucket; the sum in proportion, and exact if all are kept."""
    counts = {bucket: count for bucket, count in counts.items() if count > 0}
    if counts == {b: c for b, c in whole.buckets.items() if c}:
        return whole
    weight = sum(count * middle(bucket) for bucket, count in whole.buckets.items())
    part = sum(count * middle(bucket) for bucket, count in counts.items())
    return Histogram(
        sum(counts.values()),
        whole.sum_ns * part // weight if weight else 0,
        min(whole.max_ns, bounds(max(counts))[1] - 1) if counts else 0,
        counts,
    )


def slowest(whole: Histogram, share: float) -> Histogram:
    """The slowest of them, so large a share."""
    left = round(share * whole.count)
    counts = {}
    for bucket in sorted(whole.buckets, reverse=True):
        counts[bucket] = min(left, whole.buckets[bucket])
        left -= counts[bucket]
    return kept(whole, counts)


def thinned(whole: Histogram, share: float) -> Histogram:
    """Such a share of them at every length."""
    return kept(whole, {b: round(c * share) for b, c in whole.buckets.items()})


def capped(whole: Histogram, most_ns: int) -> Histogram:
    """As if none had taken longer."""
    if whole.max_ns <= most_ns:
        return whole
    result = Histogram()
    for bucket, count in whole.buckets.items():
        value = min(middle(bucket), most_ns)
        one = Histogram()
        one.add(value)
        result.merge(Histogram(count, value * count, value, dict.fromkeys(one.buckets, count)))
    return result


class Split(NamedTuple):
    """The packets of a wake-up leg by what the thread waited for.

    ``purity``: how far one length of wait belongs to one of both, 1.0: it is known for each packet.
    """

    idle: Histogram
    queued: Histogram
    purity: float


def split(leg: Histogram, idle: Histogram, queued: Histogram) -> Split:
    """Divide a leg in the proportion in which wake-ups of the same length were of either kind.

    A length at which no wake-up was counted belongs to neither.
    """
    waits: dict[int, int] = {}
    exits: dict[int, int] = {}
    sure = known = 0.0
    for bucket, count in leg.buckets.items():
        a, b = idle.buckets.get(bucket, 0), queued.buckets.get(bucket, 0)
        if not a + b:
            continue
        waits[bucket] = (count * b + (a + b) // 2) // (a + b)
        exits[bucket] = count - waits[bucket]
        weight = count * middle(bucket)
        known += weight
        sure += weight * max(a, b) / (a + b)
    return Split(kept(leg, exits), kept(leg, waits), sure / known if known else 1.0)


def waiting(evidence: Evidence, direction: Direction, leg: Histogram) -> Histogram:
    """The packets of a leg that took longer than code takes on this machine.

    If its median does, whatever is longer than so many typical medians; else only what is longer
    than the slowest hundredth of any leg in which only code runs, as interruptions meet all alike.
    None where there is no such leg.
    """
    code = [
        evidence.leg(leg_id).quantiles(0.5, 0.99)
        for leg_id in evidence.ids(direction)
        if leg_id.partition(":")[2] in _CODE
    ]
    if not code:
        return Histogram()
    limit_ns = WAITING * sorted(half for half, _ in code)[len(code) // 2]
    if leg.quantiles(0.5)[0] < limit_ns:
        limit_ns = max(limit_ns, *(most for _, most in code))
    return kept(leg, {b: c for b, c in leg.buckets.items() if bounds(b)[0] >= limit_ns})
