"""The segments of a ping between two guests on two hosts, and what is measured of them.

A *segment* is A to M and U1 to U4 of the ping analysis: consecutive parts of one round trip.  A
*quantity* is one interval that one observer takes with one clock: some are segments, some contain
others.  Ids, titles, observers and layers are defined here and nowhere else.

U1: the sender guest's transmit queue up to tun; U2: the interrupt up to the receiver's guest;
U3: as U1 for the reply; U4: as U2 for the reply.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class Observer(enum.Enum):
    """Who takes an interval; every observer has a clock of its own."""

    SENDER_GUEST = "sender_guest"
    SENDER_HOST = "sender_host"
    RECEIVER_HOST = "receiver_host"
    RECEIVER_GUEST = "receiver_guest"

    @property
    def title(self) -> str:
        """For people."""
        return self.value.replace("_", " ")


@dataclass(frozen=True)
class Quantity:
    """One measured interval.  ``printed`` marks a sum as a tool printed it, known to be wrong."""

    id: str
    title: str
    observer: Observer
    printed: bool = False


_SG, _SH, _RH, _RG = Observer

#: The names of the stages from tun to the interrupt, S1 to S5, within E and L.
STAGES = ("s1_s2", "s2_s3", "s3_s4", "s4_s5")
_STAGE_TITLES = {
    "s1_s2": "S1->S2 tun_net_xmit -> vhost_signal",
    "s2_s3": "S2->S3 vhost_signal -> eventfd",
    "s3_s4": "S3->S4 eventfd -> irqfd_wakeup",
    "s4_s5": "S4->S5 irqfd_wakeup -> interrupt",
}
#: The parts of U1 and U3 that are measured on the host.
KICK_STAGES = {
    "exit": "guest's exit -> ioeventfd",
    "kick": "S0 ioeventfd -> vhost worker",
    "vhost": "S1 vhost worker -> tun_sendmsg",
    "tun": "S2 tun_sendmsg -> netif_receive_skb",
}


def _of_interrupt(segment: str, title: str, observer: Observer) -> list[Quantity]:
    found = [
        Quantity(segment, title, observer),
        Quantity(f"{segment}_printed", f"{title}, as printed", observer, True),
    ]
    found += [Quantity(f"{segment}.{s}", _STAGE_TITLES[s], observer) for s in STAGES]
    stage = _STAGE_TITLES["s3_s4"]
    found.append(Quantity(f"{segment}.s3_s4_printed", f"{stage}, as printed", observer, True))
    return found


def _of_kick(segment: str, title: str, observer: Observer) -> list[Quantity]:
    return [
        Quantity(segment, title, observer),
        *(Quantity(f"{segment}.{s}", words, observer) for s, words in KICK_STAGES.items()),
    ]


QUANTITIES: Mapping[str, Quantity] = {
    q.id: q
    for q in (
        Quantity("rtt", "round trip (sender guest)", _SG),
        Quantity("A", "sender guest, transmit stack", _SG),
        Quantity("sender_inter", "sender guest, Inter-Path", _SG),
        Quantity("M", "sender guest, receive stack", _SG),
        *_of_kick("U1", "sender, guest's transmit queue to tun", _SH),
        Quantity("B", "sender host, vnet to uplink", _SH),
        Quantity("sender_external", "sender host, External", _SH),
        Quantity("K", "sender host, uplink to vnet", _SH),
        Quantity("sender_total", "sender host, Total", _SH),
        *_of_interrupt("L", "sender host, tun to interrupt", _SH),
        Quantity("U4", "sender, interrupt to guest", _SH),
        Quantity("D", "receiver host, uplink to vnet", _RH),
        *_of_interrupt("E", "receiver host, tun to interrupt", _RH),
        Quantity("U2", "receiver, interrupt to guest", _RH),
        *_of_kick("U3", "receiver, guest's transmit queue to tun", _RH),
        Quantity("receiver_external", "receiver host, External", _RH),
        Quantity("I", "receiver host, vnet to uplink", _RH),
        Quantity("receiver_total", "receiver host, Total", _RH),
        Quantity("F", "receiver guest, receive stack", _RG),
        Quantity("G", "receiver guest, echo", _RG),
        Quantity("H", "receiver guest, transmit stack", _RG),
        Quantity("receiver_rtt", "receiver guest, total", _RG),
    )
}

#: What a host's tools print of a ping: the request's way through the host, the time outside, the
#: reply's way, and the sum.
HOST_PARTS = ("ReqInternal", "External", "RepInternal", "Total")
#: Host -> the quantities of these parts.
HOST_VIEW: Mapping[Observer, tuple[str, str, str, str]] = {
    _SH: ("B", "sender_external", "K", "sender_total"),
    _RH: ("D", "receiver_external", "I", "receiver_total"),
}

#: All segments in the order in which one round trip passes them.
ORDER = ("A", "U1", "B", "C", "D", "E", "U2", "F", "G", "H", "U3", "I", "J", "K", "L", "U4", "M")

#: Quantity -> the segments that it consists of, from the outermost inwards; each contains the next.
NESTED: Mapping[str, frozenset[str]] = {
    "rtt": frozenset(ORDER),
    "sender_total": frozenset(ORDER) - set("ALM") - {"U1", "U4"},
    "sender_external": frozenset("CDEFGHIJ") | {"U2", "U3"},
    "receiver_total": frozenset("DEFGHI") | {"U2", "U3"},
    "receiver_external": frozenset("EFGH") | {"U2", "U3"},
    "receiver_rtt": frozenset("FGH"),
}

#: Sums that an observer's intervals must give, within its rounding: (parts, whole).
CLOSURES = (
    (("A", "sender_inter", "M"), "rtt"),
    (("B", "sender_external", "K"), "sender_total"),
    (("D", "receiver_external", "I"), "receiver_total"),
    (("F", "G", "H"), "receiver_rtt"),
)


@dataclass(frozen=True)
class Layer:
    """Segments of one kind, wherever they are."""

    id: str
    title: str
    segments: tuple[str, ...]


LAYERS = (
    Layer("vm_internal", "VM internal", ("A", "F", "G", "H", "M")),
    Layer("host_internal", "Host internal", ("B", "D", "I", "K")),
    Layer("physical", "Physical network", ("C", "J")),
    Layer("virt_receive", "Virtualisation, receive", ("E", "U2", "L", "U4")),
    Layer("virt_transmit", "Virtualisation, transmit", ("U1", "U3")),
)
