"""One ping as a host sees it: text in the requirement's terms, and JSON; both can be imported."""

from __future__ import annotations

from typing import Any, Optional

from vmlat_tui.export.packet_text import drop_line
from vmlat_tui.model import readings
from vmlat_tui.model.crossings import Crossing
from vmlat_tui.model.pings import Outcome, Ping
from vmlat_tui.model.readings import Reading
from vmlat_tui.model.segments import HOST_PARTS, Observer
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.words import clean, microseconds, wall_clock

#: What the line and the object call the end at which this host is.
SIDES: dict[Optional[Observer], str] = {
    Observer.SENDER_HOST: "sender",
    Observer.RECEIVER_HOST: "receiver",
    None: "both",
}
_PLACES = {
    Outcome.REQUEST_INSIDE: "Request dropped INTERNALLY",
    Outcome.OUTSIDE: "EXTERNAL (network or peer)",
    Outcome.REPLY_INSIDE: "Reply dropped INTERNALLY",
}
_RULE = "-" * 80


def _devices(ping: Ping) -> tuple[str, str]:
    """Where the host receives the request, and where it sends it on."""
    request = ping.request.frame
    # A request that got no further is not known to be for a device; its reply may tell the other.
    reply = ping.reply.frame if ping.reply is not None and ping.observer else request
    vnet, uplink = (
        clean(request[name] or reply[name] or f"the {word}")
        for name, word in (("vm_interface", "vnet"), ("phy_interface", "uplink"))
    )
    return (vnet, uplink) if ping.request.leaves else (uplink, vnet)


def _passed(ping: Ping) -> dict[str, bool]:
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


def ping_text(ping: Ping, wall_offset_ns: int) -> str:
    """One ping, with its latencies or the place where it was lost."""
    when = wall_clock(ping.request.start_ns + wall_offset_ns)
    if ping.outcome in _PLACES:
        return _loss_text(ping, when)
    packet, passed = ping.packet, _passed(ping)
    points = " ".join(f"{name}:{'Y' if there else '-'}" for name, there in passed.items())
    action = "complete" if ping.outcome is Outcome.COMPLETE else "unseen"
    values = "  ".join(
        f"{name}={'N/A' if ns is None else microseconds(ns)}"
        for name, ns in zip(HOST_PARTS, ping.parts_ns)
    )
    return (
        f"{when} [{action}] ID={packet.id} Seq={packet.sequence} {points}"
        f" Side={SIDES[ping.observer]} {_way(ping)}\n  Latency(us): {values}\n{_RULE}"
    )


def _way(ping: Ping) -> str:
    return f"{'->'.join(ping.request.ends)} {'->'.join(_devices(ping))}"


def _loss_text(ping: Ping, when: str) -> str:
    packet, (source, target) = ping.packet, ping.request.ends
    received, sent = _devices(ping)
    rows = [
        f"  [{number}] {name}: {'recorded' if there else 'MISSING'}"
        for number, (name, there) in enumerate(_passed(ping).items())
    ]
    what = {
        Outcome.REQUEST_INSIDE: f"Request received at {received} but NOT sent from {sent}",
        Outcome.OUTSIDE: f"Request sent from {sent} but Reply NOT received at {sent}",
        Outcome.REPLY_INSIDE: f"Reply received at {sent} but NOT sent from {received}",
    }[ping.outcome]
    lost = _lost(ping)
    return "\n".join(
        [
            "",
            f"=== ICMP Drop Detected: {when} ===",
            f"Flow: {source} -> {target} (ID={packet.id}, Seq={packet.sequence})",
            *rows,
            "",
            f"Drop Location: {_PLACES[ping.outcome]}",
            f"  {what}",
            *([f"  {drop_line(lost.frame)}"] if lost else []),
            f"  Side={SIDES[ping.observer]}",
            "",
        ]
    )


def _lost(ping: Ping) -> Optional[Crossing]:
    """The packet that was dropped on this host."""
    return next((c for c in (ping.reply, ping.request) if c is not None and c.dropped), None)


def ping_json(ping: Ping, wall_offset_ns: int) -> Frame:
    """A reading of a capture with more beside it, or a loss, or what is neither."""
    intervals = ping.intervals_ns
    value: Frame = {
        **readings.to_json(Reading(ping.packet, intervals)),
        "outcome": ping.outcome.value,
        "side": SIDES[ping.observer],
        **dict(zip(("src", "dst"), ping.request.ends)),
        "vm_interface": ping.request.frame["vm_interface"],
        "phy_interface": ping.request.frame["phy_interface"],
        "wall_ns": ping.request.start_ns + wall_offset_ns,
        "parts_ns": dict(zip(HOST_PARTS, ping.parts_ns)),
        "passed": _passed(ping),
    }
    if ping.outcome is not Outcome.COMPLETE:
        value.update(type="loss" if ping.outcome in _PLACES else "unseen", drop=_drop_json(ping))
    elif not intervals:
        value["type"] = "local"
    return value


def _drop_json(ping: Ping) -> Optional[dict[str, Any]]:
    lost = _lost(ping)
    if lost is None:
        return None
    return {"bin": lost.frame["bin"], **lost.frame["drop"]}
