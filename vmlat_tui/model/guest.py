"""A ping as one of its guests sees it: the points that it passes there, and what is between them.

A guest that sends the request is the sender's: Path 1 is A, Path 2 is M.  One that receives it is
the receiver's: Path 1 is F, Path 2 is H, and between them is G.  The outer points are the last and
the first that a guest sees: its kick of the host, and the interrupt of the receive queue.  So no
time is counted by the host, too.  A packet without a kick of its own ends where the driver gets it;
one that is not the first after an interrupt begins where the driver gives it to the stack.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from vmlat_tui.model.flows import Echo, Flow
from vmlat_tui.model.readings import Packet
from vmlat_tui.model.segments import Observer


class GuestPoint(enum.IntEnum):
    """Where an echo packet is seen; the value is the BPF program's."""

    XMIT = 0
    RECEIVE = 1
    READ = 2
    ICMP = 3
    REPLY = 4
    QUEUE = 5

    @property
    def macro(self) -> str:
        """The name by which the BPF source knows it."""
        return f"POINT_{self.name}"


@dataclass(frozen=True)
class Sighting:
    """An echo packet at a point.

    ``also_ns``, if it is known: at ``QUEUE`` its thread entered a call that sends, at ``XMIT`` the
    driver kicked the host (later than ``t_ns``), at ``RECEIVE`` the interrupt came that it was
    polled for.
    """

    point: GuestPoint
    t_ns: int
    also_ns: Optional[int]
    flow: Flow
    echo: Echo
    interface: Optional[str]
    tgid: int
    comm: str

    @property
    def ends(self) -> tuple[str, str]:
        """The addresses of who pings and who is pinged."""
        pair = self.flow.src, self.flow.dst
        return pair if self.echo.request else pair[::-1]


#: So many round trips are waited for at most: a long timeout and a flood of pings leave more.
_MOST = 20_000
#: The process is not known.
UNKNOWN = 0
#: All times that a round trip may have.
TIMES = frozenset(
    {"send", "request_queue", "request_xmit", "request_kick", "reply_interrupt", "reply_receive",
     "read", "request_interrupt", "request_receive", "icmp", "reply", "reply_xmit", "reply_kick"}
)  # fmt: skip
#: Time -> the one that is better, if it is known.
OUTER: Mapping[str, str] = {
    "request_xmit": "request_kick",
    "reply_xmit": "reply_kick",
    "request_receive": "request_interrupt",
    "reply_receive": "reply_interrupt",
}
#: Side -> name of an interval -> its two times; :data:`OUTER` goes before them.
_SPANS: Mapping[Observer, Mapping[str, tuple[str, str]]] = {
    Observer.SENDER_GUEST: {
        "A": ("send", "request_xmit"),
        "sender_inter": ("request_xmit", "reply_receive"),
        "M": ("reply_receive", "read"),
        "rtt": ("send", "read"),
    },
    Observer.RECEIVER_GUEST: {
        "F": ("request_receive", "icmp"),
        "G": ("icmp", "reply"),
        "H": ("reply", "reply_xmit"),
        "receiver_rtt": ("request_receive", "reply_xmit"),
    },
}
#: Path 1, Inter-Path, Path 2, Total, in the order of the requirement's terms.
PARTS = ("Path 1", "Inter-Path", "Path 2", "Total")
GUEST_VIEW: Mapping[Observer, tuple[str, ...]] = {
    side: tuple(spans) for side, spans in _SPANS.items()
}


@dataclass
class RoundTrip:
    """What was seen of one ping.  Times by name, in ns."""

    packet: Packet
    ends: tuple[str, str]
    observer: Observer
    interface: Optional[str]
    tgid: int = UNKNOWN
    comm: str = ""
    times_ns: dict[str, int] = field(default_factory=dict)
    #: This guest is a router on the way.
    forwarded: bool = False

    @property
    def complete(self) -> bool:
        """The reply was read by the socket, or given to the driver."""
        last = "read" if self.observer is Observer.SENDER_GUEST else "reply_xmit"
        return last in self.times_ns

    @property
    def start_ns(self) -> int:
        """The first time that is known."""
        return min(self.times_ns.values())

    def seen_at(self, time: str) -> str:
        """The time that stands for this one: the kick or the interrupt, if it is known."""
        outer = OUTER.get(time, time)
        return outer if outer in self.times_ns else time

    @property
    def intervals_ns(self) -> dict[str, int]:
        """By quantity of :mod:`.segments`, as far as both ends are known."""
        found = {}
        for name, (start, end) in _SPANS[self.observer].items():
            begin, finish = (self.times_ns.get(self.seen_at(time)) for time in (start, end))
            if begin is not None and finish is not None and finish >= begin:
                found[name] = finish - begin
        return found

    @property
    def parts_ns(self) -> tuple[Optional[int], ...]:
        """As :data:`PARTS`; None where an end was not seen."""
        return tuple(self.intervals_ns.get(name) for name in GUEST_VIEW[self.observer])

    @property
    def total_ns(self) -> Optional[int]:
        """All of it."""
        return self.parts_ns[-1]


class RoundTripJoiner:
    """Makes round trips of sightings, which come in the order in which they happened.

    In bounded memory: where too many are on their way, those that began first are given up.
    """

    def __init__(self, timeout_ns: int) -> None:
        """``timeout_ns`` after its beginning a ping is given up."""
        self._timeout_ns = timeout_ns
        self._open: dict[tuple[str, str, int, int], RoundTrip] = {}
        #: Of how many nothing will be known: too many were on their way.
        self.given_up = 0

    def add(self, seen: Sighting) -> Optional[RoundTrip]:
        """Take one; the round trip, if it is complete now."""
        key = (*seen.ends, seen.echo.id, seen.echo.sequence)
        trip = self._open.get(key)
        if trip is None:
            if seen.echo.request and seen.point in (GuestPoint.QUEUE, GuestPoint.RECEIVE):
                self._open[key] = _begin(seen)
                if len(self._open) > _MOST:
                    first = self._open.pop(next(iter(self._open)))
                    self.given_up += not first.forwarded
            return None
        if trip.observer is Observer.SENDER_GUEST:
            _at_sender(trip, seen)
        elif seen.echo.request and seen.point is GuestPoint.QUEUE:
            trip.forwarded = True
        else:
            _at_receiver(trip, seen)
        return self._open.pop(key) if trip.complete and not trip.forwarded else None

    def give_up(self, now_ns: int) -> list[RoundTrip]:
        """Those that nothing came of, in their order."""
        late = [k for k, trip in self._open.items() if now_ns - trip.start_ns >= self._timeout_ns]
        trips = (self._open.pop(key) for key in late)
        return sorted((t for t in trips if not t.forwarded), key=lambda trip: trip.start_ns)

    @property
    def waiting(self) -> int:
        """Round trips that are not over."""
        return sum(not trip.forwarded for trip in self._open.values())


def _begin(seen: Sighting) -> RoundTrip:
    packet = Packet(seen.echo.id, seen.echo.sequence)
    if seen.point is GuestPoint.RECEIVE:
        trip = RoundTrip(packet, seen.ends, Observer.RECEIVER_GUEST, seen.interface)
        _outer(trip, "request_receive", seen)
        return trip
    trip = RoundTrip(packet, seen.ends, Observer.SENDER_GUEST, seen.interface)
    trip.times_ns["request_queue"] = seen.t_ns
    # Outside a send call it was kept back until now (for ARP), and this is not its sender.
    if seen.also_ns is not None:
        trip.tgid, trip.comm = seen.tgid, seen.comm
        trip.times_ns["send"] = seen.also_ns
    return trip


def _outer(trip: RoundTrip, time: str, seen: Sighting) -> None:
    """It comes into the guest or leaves it here."""
    trip.times_ns[time] = seen.t_ns
    trip.times_ns.pop(OUTER[time], None)
    if seen.also_ns is not None:
        trip.times_ns[OUTER[time]] = seen.also_ns


def _at_sender(trip: RoundTrip, seen: Sighting) -> None:
    times = trip.times_ns
    if seen.echo.request:
        # The driver may be done with it after the reply was received.
        if seen.point is GuestPoint.XMIT and seen.t_ns < times.get("reply_receive", seen.t_ns + 1):
            # Behind a bridge or a bond of the guest's own: the last device is the outer one.
            trip.interface = seen.interface
            _outer(trip, "request_xmit", seen)
    elif seen.point is GuestPoint.RECEIVE:
        if "reply_receive" not in times:
            _outer(trip, "reply_receive", seen)
    elif (
        seen.point is GuestPoint.READ
        and trip.tgid in (UNKNOWN, seen.tgid)
        and "reply_receive" in times
    ):
        # Every socket that waits for echo replies gets a copy: another ping's is not of interest.
        trip.tgid, trip.comm = seen.tgid, seen.comm
        times["read"] = seen.t_ns


def _at_receiver(trip: RoundTrip, seen: Sighting) -> None:
    times = trip.times_ns
    if seen.echo.request:
        if seen.point is GuestPoint.ICMP:
            times.setdefault("icmp", seen.t_ns)
            # It was queued on a device that gave it back: ifb, to delay or limit what is received.
            trip.forwarded = False
    elif seen.point is GuestPoint.REPLY:
        times.setdefault("reply", seen.t_ns)
    elif seen.point is GuestPoint.XMIT:
        _outer(trip, "reply_xmit", seen)
