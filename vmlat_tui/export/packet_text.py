"""The text of one packet, to the letter of the requirement's section 6.1.

Points that have a stage number are printed as
``[i->j] STAGE_i (function) -> STAGE_j (function)``.  A point without one is part of the line around
it, and stands under its own name only at an end of the path, so the lines always add up to the
total.
"""

from __future__ import annotations

from collections.abc import Sequence

from vmlat_tui.model.packets import DropFrame, PacketDrop, SeenPacket, Stage
from vmlat_tui.words import clean, microseconds, wall_clock


def _label(stage: Stage) -> tuple[str, str]:
    number = stage.stage
    if number is None:
        return stage.point, f"{stage.point} ({stage.function})"
    return str(number), f"STAGE_{number} ({stage.function})"


def printed_stages(stages: Sequence[Stage]) -> list[Stage]:
    """The stages that get a place in the text: the numbered ones and both ends."""
    last = len(stages) - 1
    return [s for i, s in enumerate(stages) if s.stage is not None or i in (0, last)]


def leg_lines(stages: Sequence[Stage]) -> list[str]:
    """One line per printed leg."""
    lines = []
    points = {stage.point for stage in stages}
    shown = printed_stages(stages)
    for start, end in zip(shown, shown[1:]):
        from_number, from_text = _label(start)
        to_number, to_text = _label(end)
        note = ""
        if (start.point, end.point) == (
            "ovs_dp",
            "switch_out",
        ) and "ovs_upcall" not in points:
            note = " (OVS No Upcall)"
        delay = microseconds(end.t_ns - start.t_ns)
        lines.append(f"  [{from_number}->{to_number}] {from_text} -> {to_text}: {delay} us{note}")
    return lines


def packet_text(frame: SeenPacket, wall_offset_ns: int) -> str:
    """One ``packet`` or ``drop`` frame.  ``wall_offset_ns`` turns its clock into wall time."""
    stages = frame.stages
    direction = frame.direction
    when = wall_clock(stages[0].t_ns + wall_offset_ns)
    title = (
        f"VM Network Packet {frame.bin.capitalize()}"
        if isinstance(frame, DropFrame)
        else "VM Network Latency Trace"
    )
    vm, phy = clean(frame.vm_interface), clean(frame.phy_interface)
    devices = (
        f"VM Device: {vm} → Physical: {phy}"
        if direction == "tx"
        else f"Physical: {phy} → VM Device: {vm}"
    )
    process = frame.process
    lines = [
        f"=== {title}: {when} ({direction.upper()}) ===",
        f"Flow: {frame.flow}",
        devices,
        f"Process: PID={process.pid} COMM={clean(process.comm)}",
        "",
        "Latencies (us):",
        *leg_lines(stages),
    ]
    if isinstance(frame, DropFrame):
        lines += ["", drop_line(frame.bin, frame.drop)]
    lines += ["", f"Total Latency: {microseconds(frame.total_ns)} us", ""]
    return "\n".join(lines)


#: Where a packet waits that went no further than to these points.
_WAITING = {
    "tun_out": "Still in tun's ring: the guest has not taken it",
    "vhost_woken": "Still in tun's ring: its vhost worker was woken and does not run",
    "vhost_on_cpu": "Still in tun's ring: its vhost worker runs and has not taken it",
    "vhost_take": "In the guest's ring: its vhost worker has not announced it",
    "vhost_signal": "In the guest's ring: announced, but the guest has not been seen to go on",
}


def drop_line(bin: str, drop: PacketDrop) -> str:
    """Where and why a packet ended, and in which bin."""
    if bin == "expired" and drop.point in _WAITING:
        return _WAITING[drop.point]
    if bin != "dropped":
        return f"Lost from sight after {drop.point}"
    reason = f"reason {clean(drop.reason)}" if drop.reason else "the kernel gives no reason"
    return f"Dropped after {drop.point}: {reason}, freed by {clean(drop.function)}"
