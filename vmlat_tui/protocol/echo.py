"""The frame ``echo``: a ping as a guest sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Optional

from vmlat_tui.model.checks import address, port, text, time, whole, word
from vmlat_tui.model.guest import TIMES, RoundTrip
from vmlat_tui.model.jsonable import Jsonable
from vmlat_tui.model.readings import Packet
from vmlat_tui.model.segments import Observer


def _times(value: object) -> None:
    """Of a round trip: at least one."""
    if type(value) is not dict or not value or not value.keys() <= TIMES:
        raise ValueError("these are not times")
    for instant in value.values():
        time(instant)


class EchoNumbers(NamedTuple):
    """By which a reply is known: 16 bits each."""

    id: Annotated[int, port]
    seq: Annotated[int, port]


class Pinging(NamedTuple):
    """Who pings; pid 0: not known."""

    pid: Annotated[int, whole]
    comm: Annotated[str, text]


@dataclass(frozen=True)
class EchoFrame(Jsonable):
    """A ping as a guest sees it, once it is over.

    Only of an agent whose ``configure`` has ``guest``.  ``src`` pings ``dst``.
    """

    side: Annotated[str, word("sender_guest|receiver_guest")]
    icmp: EchoNumbers
    src: Annotated[str, address]
    dst: Annotated[str, address]
    interface: Optional[Annotated[str, text]]
    process: Pinging
    times: Annotated[Mapping[str, int], _times]

    @classmethod
    def of(cls, trip: RoundTrip) -> EchoFrame:
        """Of what was seen."""
        return cls(
            trip.observer.value,
            EchoNumbers(trip.packet.id, trip.packet.sequence),
            *trip.ends,
            trip.interface,
            Pinging(trip.tgid, trip.comm),
            dict(trip.times_ns),
        )

    @property
    def trip(self) -> RoundTrip:
        """Inverse of :meth:`of`."""
        return RoundTrip(
            Packet(*self.icmp),
            (self.src, self.dst),
            Observer(self.side),
            self.interface,
            self.process.pid,
            self.process.comm,
            dict(self.times),
        )
