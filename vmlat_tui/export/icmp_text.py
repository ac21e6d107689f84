"""One ping as a host sees it: text in the requirement's terms, which can be imported."""

from __future__ import annotations

from vmlat_tui.export.packet_text import drop_line
from vmlat_tui.model.pings import Outcome, Ping
from vmlat_tui.model.segments import HOST_PARTS
from vmlat_tui.ping.capture import HOST_SIDES, PLACES, lost_packet, passed
from vmlat_tui.words import clean, microseconds, wall_clock

_RULE = "-" * 80


def _devices(ping: Ping) -> tuple[str, str]:
    """Where the host receives the request, and where it sends it on."""
    request = ping.request
    # A request that got no further is not known to be for a device; its reply may tell the other.
    reply = ping.reply if ping.reply is not None and ping.observer else request
    vnet = clean(request.vm_interface or reply.vm_interface or "the vnet")
    uplink = clean(request.phy_interface or reply.phy_interface or "the uplink")
    return (vnet, uplink) if ping.request.leaves else (uplink, vnet)


def ping_text(ping: Ping, wall_offset_ns: int) -> str:
    """One ping, with its latencies or the place where it was lost."""
    when = wall_clock(ping.request.start_ns + wall_offset_ns)
    if ping.outcome in PLACES:
        return _loss_text(ping, when)
    packet = ping.packet
    points = " ".join(f"{name}:{'Y' if there else '-'}" for name, there in passed(ping).items())
    action = "complete" if ping.outcome is Outcome.COMPLETE else "unseen"
    values = "  ".join(
        f"{name}={'N/A' if ns is None else microseconds(ns)}"
        for name, ns in zip(HOST_PARTS, ping.parts_ns)
    )
    return (
        f"{when} [{action}] ID={packet.id} Seq={packet.sequence} {points}"
        f" Side={HOST_SIDES[ping.observer]} {_way(ping)}\n  Latency(us): {values}\n{_RULE}"
    )


def _way(ping: Ping) -> str:
    return f"{'->'.join(ping.request.ends)} {'->'.join(_devices(ping))}"


def _loss_text(ping: Ping, when: str) -> str:
    packet, (source, target) = ping.packet, ping.request.ends
    received, sent = _devices(ping)
    rows = [
        f"  [{number}] {name}: {'recorded' if there else 'MISSING'}"
        for number, (name, there) in enumerate(passed(ping).items())
    ]
    what = {
        Outcome.REQUEST_INSIDE: f"Request received at {received} but NOT sent from {sent}",
        Outcome.OUTSIDE: f"Request sent from {sent} but Reply NOT received at {sent}",
        Outcome.REPLY_INSIDE: f"Reply received at {sent} but NOT sent from {received}",
    }[ping.outcome]
    lost = lost_packet(ping)
    return "\n".join(
        [
            "",
            f"=== ICMP Drop Detected: {when} ===",
            f"Flow: {source} -> {target} (ID={packet.id}, Seq={packet.sequence})",
            *rows,
            "",
            f"Drop Location: {PLACES[ping.outcome]}",
            f"  {what}",
            *([f"  {drop_line(lost.bin or '', lost.drop)}"] if lost and lost.drop else []),
            f"  Side={HOST_SIDES[ping.observer]}",
            "",
        ]
    )
