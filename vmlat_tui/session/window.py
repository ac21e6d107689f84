"""The legs of one vNIC over a stretch of time, as the screens and the reports show them."""

from __future__ import annotations

import enum
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Optional, Union

from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.legs import Leg, sort_key
from vmlat_tui.model.points import Direction, step
from vmlat_tui.session.sample import LegKey, Pool, Samples, median_ns, merged
from vmlat_tui.session.snapshot import Moments, Place, Snapshot


class Span(enum.Enum):
    """How far back figures reach."""

    RECENT = "10 s"
    MINUTE = "60 s"
    MARK = "mark"
    START = "start"

    @property
    def words(self) -> str:
        """For a title."""
        if self in (Span.MARK, Span.START):
            return f"since {self.value}"
        return f"last {self.value}"


_SECONDS = {Span.RECENT: 10, Span.MINUTE: 60}
#: Intervals of a trend.
TREND = 40
#: Moments that are added up once and for all.
_POOLED = 16
#: Readings come once or twice a second: a longer silence is said.
_SILENCE_S = 3.0
_Part = Union[Samples, Pool]


@dataclass(frozen=True)
class LegRow:
    """One leg: count and quantiles over the span, and how it went until now.

    ``share`` is of the time that all packets of the direction spent on the whole way.
    """

    vnic: str
    leg: Leg
    count: int
    sum_ns: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    max_ns: int
    share: Optional[float]
    slowest: bool
    latest: Sequence[Snapshot] = field(repr=False, compare=False)

    @functools.cached_property
    def trend(self) -> tuple[Optional[int], ...]:
        """The median of each of the last intervals, None where no packet came by; kept."""
        found = (m.stats.samples.get(self.key) if m.stats else None for m in self.latest)
        return tuple(median_ns(sample) if sample else None for sample in found)

    @property
    def key(self) -> LegKey:
        """Identity."""
        return (self.vnic, self.leg.id)

    @property
    def total(self) -> bool:
        """Whether this is the whole way of the direction."""
        return self.leg.start is None


@functools.lru_cache(4096)
def leg_of(leg_id: str) -> Optional[Leg]:
    """The leg of an id; None for one that this version does not know."""
    direction_id, _, points = leg_id.partition(":")
    try:
        direction = Direction[direction_id.upper()]
        if points == "total":
            return Leg(direction, None, None)
        start, _, end = points.partition(">")
        return Leg(direction, step(start, direction), step(end, direction))
    except KeyError:
        return None


def stretch(place: Place, span: Span, mark_ns: Optional[int] = None) -> Moments:
    """The moments of a span that ends at a place; those without statistics are left out."""
    now = place.now
    if span is Span.START:
        since = 0
    elif span is Span.MARK:
        since = mark_ns or 0
    else:
        since = now.t_ns - _SECONDS[span] * 1_000_000_000
    return tuple(_backwards(place, since))[::-1]


def words(place: Place, span: Span, mark_ns: Optional[int] = None) -> str:
    """The span for a title, as long as it really is.

    An agent or a reader that was stopped (or starved) leaves one reading for all that time, which
    no span can take in only a part of.
    """
    intervals_s = [m.stats.seconds for m in stretch(place, span, mark_ns) if m.stats]
    silent_s = sum(seconds for seconds in intervals_s if seconds > _SILENCE_S)
    if not silent_s:
        return span.words
    reach = f"last {sum(intervals_s):.0f} s" if span in _SECONDS else span.words
    return f"{reach}, no reading for {silent_s:.0f} s"


def _backwards(place: Place, since_ns: int) -> Iterator[Snapshot]:
    measuring = place.now.measuring
    for at in range(place.index, -1, -1):
        moment = place.moments[at]
        if moment.stats is None:
            continue
        # Before that the probes were others, or other legs were counted.
        if moment.measuring is not measuring or moment.stats.t_ns <= since_ns:
            return
        yield moment


def histogram(place: Place, key: LegKey, span: Span, mark_ns: Optional[int] = None) -> Histogram:
    """All packets of one leg in the span."""
    return _counted(place, key, span, _parts(stretch(place, span, mark_ns)))


def _counted(place: Place, key: LegKey, span: Span, parts: Sequence[_Part]) -> Histogram:
    return _since_start(place, key) if span is Span.START else _sum(parts, key)


def _sum(parts: Iterable[_Part], key: LegKey) -> Histogram:
    return merged(sample for sample in (part.get(key) for part in parts) if sample)


def _parts(moments: Iterable[Snapshot]) -> list[_Part]:
    """Their samples; those of a whole group are pooled, as the next paint has the same group."""
    parts: list[_Part] = []
    for _, group in itertools.groupby(moments, lambda moment: moment.number // _POOLED):
        intervals = tuple(moment.stats.samples for moment in group if moment.stats)
        parts += [Pool(intervals)] if len(intervals) == _POOLED else intervals
    return parts


def _since_start(place: Place, key: LegKey) -> Histogram:
    """The totals of the newest moment without what came after this place."""
    newest = place.moments[-1].stats
    if place.now.measuring is not place.moments[-1].measuring:
        # Those totals are of other probes or another filter: what is kept has to do.
        return _sum(_parts(_backwards(place, 0)), key)
    if newest is None or newest.totals is None:
        return Histogram()
    total = newest.totals.of(key)
    later = _sum(_parts(place.moments[place.index + 1 :]), key)
    if not later.count:
        return total
    left = {b: c - later.buckets.get(b, 0) for b, c in total.buckets.items()}
    return Histogram(
        total.count - later.count,
        total.sum_ns - later.sum_ns,
        total.max_ns,
        {b: c for b, c in left.items() if c > 0},
    )


def histograms(
    place: Place, vnic: str, span: Span, mark_ns: Optional[int] = None
) -> dict[str, Histogram]:
    """Every leg of a vNIC that a packet passed in the span, and the totals, by their ids."""
    inside = _parts(stretch(place, span, mark_ns))
    keys = [key for key in _seen(place) if key[0] == vnic]
    found = {key[1]: _counted(place, key, span, inside) for key in keys}
    return {leg_id: one for leg_id, one in found.items() if one.count}


def samples(place: Place, key: LegKey, count: int) -> list[Optional[bytes]]:
    """The last intervals of one leg, oldest first; None where no packet came by."""
    return [m.stats.samples.get(key) if m.stats else None for m in _latest(place, count)]


def _latest(place: Place, count: int) -> list[Snapshot]:
    return list(itertools.islice(_backwards(place, 0), count))[::-1]


@functools.lru_cache(64)
def _legs_of(seen: frozenset[LegKey], vnic: str, direction: Direction) -> tuple[Leg, ...]:
    """The total, then the legs in path order.  ``seen`` is the same object until there are more."""
    found = (leg_of(leg_id) for name, leg_id in seen if name == vnic)
    known = [leg for leg in found if leg is not None and leg.direction is direction]
    return tuple(sorted(known, key=lambda leg: (leg.start is not None, sort_key(leg))))


def legs(
    place: Place,
    vnic: str,
    direction: Direction,
    span: Span = Span.RECENT,
    mark_ns: Optional[int] = None,
) -> tuple[LegRow, ...]:
    """The total of a direction, then every leg in path order; the slowest is marked.

    A leg that was seen since the probes are there but not in the span has count 0.
    """
    found = _legs_of(_seen(place), vnic, direction)
    if not found:
        return ()
    inside, latest = _parts(stretch(place, span, mark_ns)), _latest(place, TREND)
    histograms = [_counted(place, (vnic, leg.id), span, inside) for leg in found]
    parts = [at for at, leg in enumerate(found) if leg.start and histograms[at].count]
    # One leg alone is not a finding.
    slowest = max(parts, key=lambda at: histograms[at].sum_ns) if len(parts) > 1 else None
    whole_ns = 0 if found[0].start else histograms[0].sum_ns
    rows = []
    for at, (leg, one) in enumerate(zip(found, histograms)):
        p50_ns, p90_ns, p99_ns = one.quantiles(0.5, 0.9, 0.99)
        rows.append(
            LegRow(
                vnic,
                leg,
                count=one.count,
                sum_ns=one.sum_ns,
                p50_ns=p50_ns,
                p90_ns=p90_ns,
                p99_ns=p99_ns,
                max_ns=one.max_ns,
                share=one.sum_ns / whole_ns if whole_ns else None,
                slowest=at == slowest,
                latest=latest,
            )
        )
    return tuple(rows)


def _seen(place: Place) -> frozenset[LegKey]:
    return place.now.stats.legs if place.now.stats else frozenset()


def vnics(place: Place) -> tuple[str, ...]:
    """The vNICs that have figures, in the order of their names."""
    return tuple(sorted({name for name, _ in _seen(place)} | set(place.now.watched)))
