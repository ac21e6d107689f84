"""Which observers have reported a ping, so that it can be shown as soon as all of them have.

The figures do not depend on it: whoever comes late is still joined by
:class:`.collection.Collection`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vmlat_tui.model.readings import Packet
from vmlat_tui.model.segments import Observer

#: So many pings are waited for at most, and as many are remembered.
_MOST = 100_000
#: How long it is remembered that a ping is over: an echo sequence starts again some time.
_MEMORY_S = 30.0


@dataclass
class CorrelatedPing:
    """What is known of one ping: intervals (ns), and by observer how it was lost there."""

    packet: Packet
    since_s: float
    intervals_ns: dict[str, int] = field(default_factory=dict)
    lost: dict[Observer, str] = field(default_factory=dict)
    by: set[Observer] = field(default_factory=set)


class Correlator:
    """Joins what observers say of the same ping.

    Times are of one clock, in seconds.  For one thread.
    """

    def __init__(self, patience_s: float) -> None:
        """A ping that not all have reported is given up after so long."""
        self._patience_s = patience_s
        self._open: dict[Packet, CorrelatedPing] = {}
        #: Packet -> until when it is remembered, and whether it counts.
        self._past: dict[Packet, tuple[float, bool]] = {}
        #: Whether pings that nobody has reported yet count.  Those reported while it is false never
        #: do: they began before all could see them, or after some had ended.
        self.accepts = False
        #: How many are over.
        self.over = 0
        #: How many of them were given up without being shown: too many were waited for.
        self.given_up = 0

    @property
    def waiting(self) -> int:
        """Pings that not all have reported."""
        return len(self._open)

    def take(
        self,
        observer: Observer,
        packet: Packet,
        intervals_ns: Mapping[str, int],
        lost: str,
        now_s: float,
    ) -> bool:
        """Take what an observer reports; whether it counts."""
        ping = self._open.get(packet)
        if ping is None:
            until_s, counts = self._past.get(packet, (0.0, False))
            if now_s < until_s:
                return counts
            if not self.accepts:
                self._remember(packet, False, now_s)
                return False
            ping = self._open[packet] = CorrelatedPing(packet, now_s)
            if len(self._open) > _MOST:
                first = next(iter(self._open))
                del self._open[first]
                self._remember(first, True, now_s)
                self.over += 1
                self.given_up += 1
        ping.by.add(observer)
        ping.intervals_ns.update(intervals_ns)
        if lost:
            ping.lost[observer] = lost
        return True

    def settle(self, expected: frozenset[Observer], now_s: float) -> list[CorrelatedPing]:
        """Those that nothing is waited for any more, in the order in which they were heard of."""
        found: list[CorrelatedPing] = []
        for ping in list(self._open.values()):
            everybody = ping.by >= expected
            late = now_s - ping.since_s >= self._patience_s
            if everybody or late:
                del self._open[ping.packet]
                self._remember(ping.packet, True, now_s)
                found.append(ping)
        self.over += len(found)
        return found

    def _remember(self, packet: Packet, counts: bool, now_s: float) -> None:
        self._past.pop(packet, None)
        self._past[packet] = now_s + _MEMORY_S, counts
        while len(self._past) > _MOST:
            del self._past[next(iter(self._past))]
