"""Where threads and interrupts were in the last minute, out of the moments that are kept.

A thread is seen once a reading: what it did in between is not known, so moves are those at least.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Optional

from vmlat_tui.model.topology import Topology
from vmlat_tui.session.snapshot import Place, Snapshot

_REACH_NS = 60_000_000_000


class Sight(NamedTuple):
    """Something was seen on these CPUs."""

    t_ns: int
    cpus: tuple[int, ...]


class Move(NamedTuple):
    """Something was seen on other CPUs than the time before."""

    t_ns: int
    before: tuple[int, ...]
    after: tuple[int, ...]


def moves(trail: Sequence[Sight]) -> tuple[Move, ...]:
    """The changes in it, oldest first."""
    pairs = zip(trail, trail[1:])
    return tuple(Move(b.t_ns, a.cpus, b.cpus) for a, b in pairs if a.cpus != b.cpus)


@dataclass(frozen=True)
class Recent:
    """The moments of the last minute, oldest first.

    ``seconds`` is how far back their readings really go: less than 60 at the beginning, 0 as long
    as there are not two of them.
    """

    moments: tuple[Snapshot, ...]
    seconds: float

    def thread(self, tid: int) -> tuple[Sight, ...]:
        """Where a thread was seen, oldest first."""
        return tuple(_distinct(self._of_thread(tid)))

    def _of_thread(self, tid: int) -> Iterator[Sight]:
        for moment in self.moments:
            rate = moment.rates.threads.get(tid) if moment.rates else None
            if moment.rates and rate and rate.cpu is not None:
                yield Sight(moment.rates.t_ns, (rate.cpu,))

    def irqs(self, name: str) -> Mapping[int, tuple[Sight, ...]]:
        """Where the interrupts of a device went, by their numbers."""
        found: dict[int, list[Sight]] = {}
        known: Optional[Topology] = None
        effective: dict[int, tuple[int, ...]] = {}
        for moment in self.moments:
            if moment.topology is not known:
                known = moment.topology
                device = known.interface(name) if known else None
                effective = {i.number: i.effective for i in device.irqs} if device else {}
            for number, cpus in effective.items():
                if cpus:
                    found.setdefault(number, []).append(Sight(moment.t_ns, cpus))
        return {number: tuple(sights) for number, sights in found.items()}


def recent(place: Place) -> Recent:
    """The minute that ends at a place; nothing from before the host was booted anew."""
    now = place.now
    found: list[Snapshot] = []
    for at in range(place.index, -1, -1):
        moment = place.moments[at]
        if moment.boot != now.boot or moment.t_ns <= now.t_ns - _REACH_NS:
            break
        found.append(moment)
    times = {moment.rates.t_ns for moment in found if moment.rates}
    reach_ns = min(_REACH_NS, now.t_ns - min(times)) if len(times) > 1 else 0
    return Recent(tuple(found[::-1]), reach_ns / 1e9)


def _distinct(sights: Iterator[Sight]) -> Iterator[Sight]:
    """One per reading: a moment without a new one has the rates of the moment before."""
    last_ns = -1
    for sight in sights:
        if sight.t_ns > last_ns:
            last_ns = sight.t_ns
            yield sight
