"""Lines of a capture (:mod:`vmlat_tui.model.captures`): a ping as a host or a guest saw it."""

from __future__ import annotations

from typing import Any, Optional

from vmlat_tui.model import readings
from vmlat_tui.model.crossings import Crossing
from vmlat_tui.model.guest import PARTS, RoundTrip
from vmlat_tui.model.pings import Outcome, Ping
from vmlat_tui.model.readings import Reading
from vmlat_tui.model.segments import HOST_PARTS, Observer
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.words import clean

#: What the line and the object call the end at which this host is.
HOST_SIDES: dict[Optional[Observer], str] = {
    Observer.SENDER_HOST: "sender",
    Observer.RECEIVER_HOST: "receiver",
    None: "both",
}
#: Where a ping was lost, as the requirement says it.
PLACES = {
    Outcome.REQUEST_INSIDE: "Request dropped INTERNALLY",
    Outcome.OUTSIDE: "EXTERNAL (network or peer)",
    Outcome.REPLY_INSIDE: "Reply dropped INTERNALLY",
}
GUEST_SIDES = {Observer.SENDER_GUEST: "sender", Observer.RECEIVER_GUEST: "receiver"}


# ---- a host --------------------------------------------------------------------------------------


def passed(ping: Ping) -> dict[str, bool]:
    """The four points, by the names that the requirement has for them."""
    lost = ping.outcome is not Outcome.COMPLETE
    found = {}
    for name, crossing in (("Req", ping.request), ("Rep", ping.reply)):
        left = crossing is not None and crossing.end_ns is not None
        found[f"{name}RX"] = crossing is not None
        found[f"{name}TX"] = left and not (lost and _dropped(crossing))
    return found


def _dropped(crossing: Optional[Crossing]) -> bool:
    return crossing is not None and crossing.dropped


def lost_packet(ping: Ping) -> Optional[Crossing]:
    """The packet that was dropped on this host."""
    return next((c for c in (ping.reply, ping.request) if c is not None and c.dropped), None)


def ping_json(ping: Ping, wall_offset_ns: int) -> Raw:
    """A reading of a capture with more beside it, or a loss, or what is neither."""
    intervals = ping.intervals_ns
    value: Raw = {
        **readings.to_json(Reading(ping.packet, intervals)),
        "outcome": ping.outcome.value,
        "side": HOST_SIDES[ping.observer],
        **dict(zip(("src", "dst"), ping.request.ends)),
        "vm_interface": ping.request.vm_interface,
        "phy_interface": ping.request.phy_interface,
        "wall_ns": ping.request.start_ns + wall_offset_ns,
        "parts_ns": dict(zip(HOST_PARTS, ping.parts_ns)),
        "passed": passed(ping),
    }
    absent = [r for c in (ping.request, ping.reply) if c is not None for r in c.absent]
    if absent:
        value["absent"] = absent
    if ping.outcome is not Outcome.COMPLETE:
        value.update(type="loss" if ping.outcome in PLACES else "unseen", drop=_drop_json(ping))
    elif not intervals:
        value["type"] = "local"
    return value


def _drop_json(ping: Ping) -> Optional[dict[str, Any]]:
    lost = lost_packet(ping)
    if lost is None or lost.drop is None:
        return None
    return {"bin": lost.bin, **lost.drop._asdict()}


# ---- a guest -------------------------------------------------------------------------------------


def missing(trip: RoundTrip) -> str:
    """What a ping that nothing came of lacks, in words."""
    if trip.observer is Observer.RECEIVER_GUEST:
        return "not answered by this guest"
    if "request_xmit" not in trip.times_ns:
        return f"it did not leave this guest; it was queued on {clean(trip.interface)}"
    if "reply_receive" in trip.times_ns:
        return "its reply was received and not read by a socket of the sender"
    return f"no reply; it left from {clean(trip.interface)}"


def trip_json(trip: RoundTrip, wall_offset_ns: int) -> Raw:
    """A reading of a capture with more beside it, or a ping that was not answered."""
    return {
        **readings.to_json(Reading(trip.packet, trip.intervals_ns)),
        **({} if trip.complete else {"type": "unanswered", "missing": missing(trip)}),
        "side": GUEST_SIDES[trip.observer],
        **dict(zip(("src", "dst"), trip.ends)),
        "interface": trip.interface,
        "process": {"pid": trip.tgid, "comm": trip.comm},
        "wall_ns": trip.start_ns + wall_offset_ns,
        "parts_ns": dict(zip(PARTS, trip.parts_ns)),
    }
