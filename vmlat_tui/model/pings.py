"""Echo packets on their way through one host, and what becomes of a ping there.

A host sees the request cross it, then the reply the other way.  Which end of the ping it is the
direction of the request says: from the VM, it is the sender's host; to the VM, the receiver's.
Between two VMs of one host both leave a VM, and the host is neither.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.model.bins import Bin
from vmlat_tui.model.flows import Echo
from vmlat_tui.model.frames import Frame
from vmlat_tui.model.readings import Packet
from vmlat_tui.model.segments import HOST_VIEW, Observer

#: What does not go on in the host is given up by the agent within this time.
_STUCK_NS = 7_000_000_000
_UNSEEN = ("lost", "suppressed")
_Span = tuple[str, str]
#: The parts of the path on the guest's side of the tap: suffix of the quantity -> its two points.
_SENT: Mapping[str, _Span] = {
    "": ("guest_exit", "vnet_rx"),
    ".exit": ("guest_exit", "guest_kick"),
    ".kick": ("guest_kick", "vhost_tx"),
    ".vhost": ("vhost_tx", "tun_in"),
    ".tun": ("tun_in", "vnet_rx"),
}
_RECEIVED: Mapping[str, _Span] = {
    "": ("tun_out", "irq_accept"),
    ".s1_s2": ("tun_out", "vhost_signal"),
    ".s2_s3": ("vhost_signal", "eventfd"),
    ".s3_s4": ("eventfd", "irqfd"),
    ".s4_s5": ("irqfd", "irq_accept"),
}
_ENTERED: Mapping[str, _Span] = {"": ("irq_accept", "guest_entry")}
#: Host -> what the packet that it takes from its VM is measured by, and the one it gives to it.
_GUEST_SIDE: Mapping[Observer, tuple[Mapping[str, Mapping[str, _Span]], ...]] = {
    Observer.SENDER_HOST: ({"U1": _SENT}, {"L": _RECEIVED, "U4": _ENTERED}),
    Observer.RECEIVER_HOST: ({"U3": _SENT}, {"E": _RECEIVED, "U2": _ENTERED}),
}


def _between(start: Optional[int], end: Optional[int]) -> Optional[int]:
    return None if start is None or end is None or end < start else end - start


@dataclass(frozen=True)
class Crossing:
    """One echo packet's way through the host.  Times are in ns, of the frame's clock."""

    frame: Frame
    echo: Echo
    times_ns: Mapping[str, int]

    @classmethod
    def of(cls, frame: Frame, echo: Optional[Echo] = None) -> Optional[Crossing]:
        """Of a ``packet`` or ``drop`` frame; None if that is of no echo.

        ``echo`` is what an older frame does not say.
        """
        if echo is None and "icmp" in frame:
            echo = Echo.from_json(frame["icmp"])
        times = {stage["point"]: stage["t_ns"] for stage in frame["stages"]}
        found = cls(frame, echo, times) if echo else None
        return found if found and found.entry in times else None

    @property
    def leaves(self) -> bool:
        """A VM has sent it."""
        return bool(self.frame["direction"] == "tx")

    @property
    def entry(self) -> str:
        """The point at which the host receives it."""
        return "vnet_rx" if self.leaves else "phy_rx"

    @property
    def start_ns(self) -> int:
        """When the host received it."""
        return self.times_ns[self.entry]

    @property
    def end_ns(self) -> Optional[int]:
        """When the host gave it to the uplink's queue or to a VM's tap; None if it was not seen to.

        Waiting in that queue is of the network, as in the logs that this is compared with: they
        end where a packet is queued.
        """
        if self.leaves and "phy_xmit" in self.times_ns:
            return self.times_ns.get("phy_queue")
        return self.times_ns.get("tun_out")

    @property
    def dropped(self) -> bool:
        """It did not complete."""
        return bool(self.frame["type"] == "drop")

    @property
    def local(self) -> bool:
        """From one VM of the host to another."""
        return self.leaves and "phy_xmit" not in self.times_ns and "tun_out" in self.times_ns

    @property
    def observer(self) -> Optional[Observer]:
        """Which end the host is by this packet alone; None: both."""
        if self.local:
            return None
        sender = self.leaves == self.echo.request
        return Observer.SENDER_HOST if sender else Observer.RECEIVER_HOST

    @property
    def intervals_ns(self) -> dict[str, int]:
        """Its way through the host and on the guest's side of the tap, by quantity."""
        if self.observer is None:
            return {}
        request, _, reply, _ = HOST_VIEW[self.observer]
        spans: dict[str, tuple[Optional[int], Optional[int]]] = {
            request if self.echo.request else reply: (self.start_ns, self.end_ns)
        }
        for name, parts in _GUEST_SIDE[self.observer][not self.leaves].items():
            for suffix, (start, end) in parts.items():
                spans[name + suffix] = self._at(start), self.times_ns.get(end)
        found = ((name, _between(*span)) for name, span in spans.items())
        return {name: ns for name, ns in found if ns is not None}

    def _at(self, point: str) -> Optional[int]:
        """Where the guest's exit was not seen, its kick is the first that is known of it."""
        found = self.times_ns.get(point)
        return self.times_ns.get("guest_kick") if found is None and point == "guest_exit" else found

    @property
    def ends(self) -> tuple[str, str]:
        """The addresses of who pings and who is pinged."""
        flow = self.frame["flow"]
        pair = flow["src"], flow["dst"]
        return pair if self.echo.request else pair[::-1]


class Outcome(enum.Enum):
    """What became of a ping, as one host sees it."""

    COMPLETE = "complete"
    REQUEST_INSIDE = "request_inside"
    OUTSIDE = "outside"
    REPLY_INSIDE = "reply_inside"
    #: Nobody can say: packets were not looked at singly meanwhile.
    UNSEEN = "unseen"


#: Where a lost ping was lost, in words.
LOSSES: Mapping[Outcome, str] = {
    Outcome.REQUEST_INSIDE: "request, inside the host",
    Outcome.OUTSIDE: "outside the host",
    Outcome.REPLY_INSIDE: "reply, inside the host",
}


@dataclass(frozen=True)
class Ping:
    """A request, and its reply if there was one."""

    request: Crossing
    reply: Optional[Crossing]
    outcome: Outcome

    @property
    def packet(self) -> Packet:
        """What all observers know it by."""
        return Packet(self.request.echo.id, self.request.echo.sequence)

    @property
    def observer(self) -> Optional[Observer]:
        """Which end this host is; None: both."""
        if not self.request.leaves:
            return Observer.RECEIVER_HOST
        local = self.request.local or (self.reply is not None and self.reply.leaves)
        return None if local else Observer.SENDER_HOST

    @property
    def parts_ns(self) -> tuple[Optional[int], ...]:
        """ReqInternal, External, RepInternal, Total; None where an end was not seen."""
        reply_start = reply_end = None
        if self.reply is not None:
            reply_start, reply_end = self.reply.start_ns, self.reply.end_ns
        start, end = self.request.start_ns, self.request.end_ns
        pairs = ((start, end), (end, reply_start), (reply_start, reply_end), (start, reply_end))
        return tuple(_between(*pair) for pair in pairs)

    @property
    def joined_ns(self) -> dict[str, int]:
        """External and Total, by quantity: what neither packet tells alone."""
        if self.observer is None:
            return {}
        _, external, _, total = zip(HOST_VIEW[self.observer], self.parts_ns)
        return {name: ns for name, ns in (external, total) if ns is not None}

    @property
    def intervals_ns(self) -> dict[str, int]:
        """All, by quantity of :mod:`.segments`; empty if this host is both ends."""
        reply = self.reply.intervals_ns if self.reply is not None else {}
        return {**self.request.intervals_ns, **self.joined_ns, **reply}


def unseen(stats: Frame) -> int:
    """How many packets so far had no frame of their own though they should.

    A ping that began before the last of them may have had its reply.
    """
    counters = stats["counters"]
    return _count(stats, Bin.EVICTED) + sum(int(counters.get(n, 0)) for n in _UNSEEN)


def _count(stats: Frame, which: Bin) -> int:
    return sum(int(row[which.id]) for row in stats["bins"].values())


@dataclass(frozen=True)
class _Waiting:
    crossing: Crossing
    #: How many packets had not been looked at singly by then.
    unseen: int


class Joiner:
    """Joins requests and replies, in whatever order they come.  For one thread."""

    def __init__(self, timeout_ns: int) -> None:
        """``timeout_ns`` after its beginning a ping without a reply is lost."""
        self._timeout_ns = timeout_ns
        self._waiting: dict[tuple[str, str, int, int], list[_Waiting]] = {}
        self._unseen = 0
        #: Replies whose request was not seen.
        self.unmatched = 0

    @property
    def waiting(self) -> int:
        """Requests whose outcome is open."""
        rows = (row for rows in self._waiting.values() for row in rows)
        return sum(row.crossing.echo.request for row in rows)

    def add(self, crossing: Crossing) -> Optional[Ping]:
        """Take one; the ping, if its other half was there."""
        echo = crossing.echo
        rows = self._waiting.setdefault((*crossing.ends, echo.id, echo.sequence), [])
        for row in rows:
            other = row.crossing
            request, reply = (crossing, other) if echo.request else (other, crossing)
            if _fit(request, reply):
                rows.remove(row)
                outcome = Outcome.REPLY_INSIDE if reply.dropped else Outcome.COMPLETE
                return Ping(request, reply, outcome)
        rows.append(_Waiting(crossing, self._unseen))
        return None

    def settle(self, stats: Frame) -> list[Ping]:
        """Those that nothing can be waited for any more at a ``stats`` frame, in their order.

        A packet that is stuck in the host has no frame until it expires.  So as long as any is in
        flight, a ping without a reply is waited for somewhat longer.
        """
        found: list[Ping] = []
        limit_ns = self._timeout_ns + (_STUCK_NS if _count(stats, Bin.IN_FLIGHT) else 0)
        now_unseen = unseen(stats)
        for key, rows in list(self._waiting.items()):
            left = []
            for row in rows:
                crossing = row.crossing
                late = stats["t_ns"] - crossing.start_ns >= limit_ns
                if not late and not (stats["final"] and crossing.dropped):
                    left.append(row)
                elif crossing.echo.request:
                    found.append(Ping(crossing, None, _lost(row, now_unseen)))
                else:
                    self.unmatched += 1
            if left:
                self._waiting[key] = left
            else:
                del self._waiting[key]
        self._unseen = now_unseen
        return sorted(found, key=lambda ping: ping.request.start_ns)


def _lost(row: _Waiting, unseen: int) -> Outcome:
    if row.crossing.dropped:
        return Outcome.REQUEST_INSIDE
    return Outcome.OUTSIDE if unseen == row.unseen else Outcome.UNSEEN


def _fit(request: Crossing, reply: Crossing) -> bool:
    """Whether a reply, by the same numbers and addresses, is that request's at the same vNIC."""
    if not request.echo.request or reply.echo.request or reply.start_ns < request.start_ns:
        return False
    if request.leaves != reply.leaves:
        return bool(request.frame["vm_interface"] == reply.frame["vm_interface"])
    return request.local and (reply.local or (reply.leaves and reply.dropped))
