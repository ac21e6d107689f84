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

from vmlat_tui.model.crossings import Crossing, between
from vmlat_tui.model.readings import Packet
from vmlat_tui.model.segments import HOST_VIEW, Observer

#: What does not go on in the host is given up by the agent within this time.
_STUCK_NS = 7_000_000_000
#: So many echo packets wait for the other half of their ping at most, and so many of one ping: it
#: crosses several vNICs.  An agent that never sends ``stats`` has none of them settled.
_MOST, _MOST_ALIKE = 20_000, 16
#: Addresses of who pings and who is pinged, and the echo's numbers.
_Key = tuple[str, str, int, int]


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
        return tuple(between(*pair) for pair in pairs)

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


@dataclass(frozen=True)
class _Waiting:
    crossing: Crossing
    #: How many packets had not been looked at singly by then.
    unseen: int


class PingJoiner:
    """Joins requests and replies, in whatever order they come, in bounded memory.

    Where too many wait, those that came first are given up.  For one thread.
    """

    def __init__(self, timeout_ns: int) -> None:
        """``timeout_ns`` after its beginning a ping without a reply is lost."""
        self._timeout_ns = timeout_ns
        self._waiting: dict[_Key, list[_Waiting]] = {}
        self._count = self._unseen = 0
        #: Replies whose request was not seen.
        self.unmatched = 0
        #: Requests whose outcome nobody will know: too many waited.
        self.given_up = 0

    @property
    def waiting(self) -> int:
        """Requests whose outcome is open."""
        rows = (row for rows in self._waiting.values() for row in rows)
        return sum(row.crossing.echo.request for row in rows)

    def add(self, crossing: Crossing) -> Optional[Ping]:
        """Take one; the ping, if its other half was there."""
        echo = crossing.echo
        key = (*crossing.ends, echo.id, echo.sequence)
        rows = self._waiting.setdefault(key, [])
        for row in rows:
            other = row.crossing
            request, reply = (crossing, other) if echo.request else (other, crossing)
            if _fit(request, reply):
                rows.remove(row)
                self._count -= 1
                if not rows:
                    del self._waiting[key]
                outcome = Outcome.REPLY_INSIDE if reply.dropped else Outcome.COMPLETE
                return Ping(request, reply, outcome)
        rows.append(_Waiting(crossing, self._unseen))
        self._count += 1
        if len(rows) > _MOST_ALIKE:
            self._give_up(key)
        elif self._count > _MOST:
            self._give_up(next(iter(self._waiting)))
        return None

    def _give_up(self, key: _Key) -> None:
        """The first of these."""
        rows = self._waiting[key]
        if rows.pop(0).crossing.echo.request:
            self.given_up += 1
        else:
            self.unmatched += 1
        self._count -= 1
        if not rows:
            del self._waiting[key]

    def settle(self, t_ns: int, final: bool, in_flight: int, unseen: int) -> list[Ping]:
        """Those that nothing can be waited for any more at a ``stats`` frame, in their order.

        That is of ``t_ns``, and perhaps the last one; so many packets were in flight, and so many
        so far had no frame of their own though they should.

        A packet that is stuck in the host has no frame until it expires.  So as long as any is in
        flight, a ping without a reply is waited for somewhat longer.
        """
        found: list[Ping] = []
        limit_ns = self._timeout_ns + (_STUCK_NS if in_flight else 0)
        for key, rows in list(self._waiting.items()):
            left = []
            for row in rows:
                crossing = row.crossing
                late = t_ns - crossing.start_ns >= limit_ns
                if not late and not (final and crossing.dropped):
                    left.append(row)
                elif crossing.echo.request:
                    found.append(Ping(crossing, None, _lost(row, unseen)))
                else:
                    self.unmatched += 1
            self._count -= len(rows) - len(left)
            if left:
                self._waiting[key] = left
            else:
                del self._waiting[key]
        self._unseen = unseen
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
        return request.vm_interface == reply.vm_interface
    return request.local and (reply.local or (reply.leaves and reply.dropped))
