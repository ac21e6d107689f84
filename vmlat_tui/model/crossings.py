"""One echo packet's way through a host, and what it tells of a ping by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.model.flows import Echo
from vmlat_tui.model.packets import DropFrame, PacketDrop, SeenPacket
from vmlat_tui.model.segments import HOST_VIEW, Observer

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
_POINTS = frozenset(
    {"phy_rx", "phy_queue", "phy_xmit"}.union(
        *(span for spans in (_SENT, _RECEIVED, _ENTERED) for span in spans.values())
    )
)
#: Host -> what the packet that it takes from its VM is measured by, and the one it gives to it.
_GUEST_SIDE: Mapping[Observer, tuple[Mapping[str, Mapping[str, _Span]], ...]] = {
    Observer.SENDER_HOST: ({"U1": _SENT}, {"L": _RECEIVED, "U4": _ENTERED}),
    Observer.RECEIVER_HOST: ({"U3": _SENT}, {"E": _RECEIVED, "U2": _ENTERED}),
}


def between(start: Optional[int], end: Optional[int]) -> Optional[int]:
    """From one time to another, in ns; None if one is not known, or they are in no order."""
    return None if start is None or end is None or end < start else end - start


@dataclass(frozen=True)
class Crossing:
    """One echo packet's way through the host.  Times are in ns, of the frame's clock.

    It has what is of interest of its frame: many are kept, and that may be large.
    """

    direction: str
    #: The addresses of who pings and who is pinged.
    ends: tuple[str, str]
    vm_interface: Optional[str]
    phy_interface: Optional[str]
    #: Where it ended, if it did not complete.
    bin: Optional[str]
    drop: Optional[PacketDrop]
    echo: Echo
    times_ns: Mapping[str, int]
    #: Why it left points out: ids of :mod:`.absences`.
    absent: tuple[str, ...] = ()

    @classmethod
    def of(cls, frame: SeenPacket, echo: Optional[Echo] = None) -> Optional[Crossing]:
        """Of a packet; None if that is of no echo.

        ``echo`` is what an older frame does not say.
        """
        echo = frame.icmp if echo is None else echo
        if echo is None:
            return None
        pair = frame.flow.src, frame.flow.dst
        found = cls(
            frame.direction,
            pair if echo.request else pair[::-1],
            frame.vm_interface,
            frame.phy_interface,
            frame.bin if isinstance(frame, DropFrame) else None,
            frame.drop if isinstance(frame, DropFrame) else None,
            echo,
            {stage.point: stage.t_ns for stage in frame.stages if stage.point in _POINTS},
            tuple(left_out.reason for left_out in frame.absent or ()),
        )
        return found if found.entry in found.times_ns else None

    @property
    def leaves(self) -> bool:
        """A VM has sent it."""
        return self.direction == "tx"

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
        return self.drop is not None

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
        found = ((name, between(*span)) for name, span in spans.items())
        return {name: ns for name, ns in found if ns is not None}

    def _at(self, point: str) -> Optional[int]:
        """Where the guest's exit was not seen, its kick is the first that is known of it."""
        found = self.times_ns.get(point)
        return self.times_ns.get("guest_kick") if found is None and point == "guest_exit" else found
