"""What vmlat itself has written: captures of readings, and recorded sessions.

The lines of a capture are those of :mod:`vmlat_tui.model.captures`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, Optional

from vmlat_tui.errors import UsageError, VmlatError, quoted
from vmlat_tui.importers import lines
from vmlat_tui.importers.result import ImportResult, Side, Trouble
from vmlat_tui.model import captures, readings
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.crossings import Crossing
from vmlat_tui.model.flows import Echo
from vmlat_tui.model.packets import DropFrame, PacketFrame, SeenPacket
from vmlat_tui.model.pings import LOSSES, Outcome, PingJoiner
from vmlat_tui.model.readings import Packet
from vmlat_tui.model.segments import Observer
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.stats import StatsFrame
from vmlat_tui.recording.read import read

#: So long the halves of a ping are kept.
_WAIT_NS = 10_000_000_000
_SIDES = {Observer.SENDER_HOST: Side.SENDER, Observer.RECEIVER_HOST: Side.RECEIVER}
_LOSSES = {outcome.value: words for outcome, words in LOSSES.items()}


def recognised(head: str) -> Optional[str]:
    """``capture``, ``recording`` or None, by the first line."""
    try:
        first = json.loads(head.partition("\n")[0])
    except (ValueError, RecursionError):
        return None
    kind = first.get("type") if isinstance(first, dict) else None
    return {"capture": "capture", "hello": "recording"}.get(str(kind))


def read_capture(result: ImportResult) -> None:
    """Read the file of the result's source."""
    source = result.source
    for number, line in enumerate(lines.read(source.text)):
        try:
            value: Any = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError("no object")
            if number == 0:
                _head(result, value)
            elif value.get("type") == "reading":
                reading = readings.from_json(value)
                result.add(reading.packet, reading.intervals_ns)
            elif value.get("type") == "loss":
                source.drops[_LOSSES[value["outcome"]]] += 1
            elif value.get("type") not in captures.VOID:
                source.trouble(Trouble.FOREIGN, line)
        except (KeyError, TypeError, ValueError, RecursionError):
            source.trouble(Trouble.DAMAGED, line)


def _head(result: ImportResult, value: dict[str, Any]) -> None:
    if value.get("schema") != captures.SCHEMA:
        raise UsageError(
            f"{result.source.text.path.name} has schema {quoted(value.get('schema'))}",
            f"this program reads {captures.SCHEMA}",
        )
    result.tool("vmlat capture")
    name = value.get("name")
    result.source.label = name if isinstance(name, str) else None


def read_recording(result: ImportResult) -> None:
    """Echo packets of a recorded session.

    Of pings without a reply it does not say why: it may hold only slow packets, or some of them.
    """
    source = result.source
    with contextlib.suppress(OSError):  # it may be gone, which is said below
        source.text.size = source.text.path.lstat().st_size
    joiner, initiators = PingJoiner(_WAIT_NS), _Initiators(source.side)
    for frame in _frames(result):
        source.text.lines += 1
        if isinstance(frame, StatsFrame):
            joiner.settle(frame.t_ns, frame.final, frame.ended(Bin.IN_FLIGHT), frame.unseen)
        if not isinstance(frame, (PacketFrame, DropFrame)):
            continue
        if frame.flow.protocol != "icmp":
            source.trouble(Trouble.OTHER, f"packet of {frame.flow.protocol}")
            continue
        numbered = frame.icmp is not None
        crossing = Crossing.of(frame, None if numbered else initiators.echo(frame))
        if crossing is None or crossing.observer is None:
            continue
        side = _SIDES[crossing.observer]
        source.banner_side = source.banner_side or side
        result.tool("vmlat recording")
        if crossing.dropped:
            request = crossing.echo.request
            lost = Outcome.REQUEST_INSIDE if request else Outcome.REPLY_INSIDE
            source.drops[LOSSES[lost]] += 1
            continue
        packet = Packet(crossing.echo.id, crossing.echo.sequence) if numbered else None
        result.add(packet, crossing.intervals_ns)
        ping = joiner.add(crossing) if numbered else None
        if ping is not None:
            result.add(packet, ping.joined_ns)
        elif not numbered:
            source.note("a recording of an older version has no sequence numbers: "
                        "its packets join no others")  # fmt: skip


class _Initiators:
    """Which packets are requests, in sessions that do not say it.

    Who sent the first packet of a flow began the ping, unless the user knows the host's end.
    """

    def __init__(self, side: Optional[Side]) -> None:
        self._side = side
        self._leaves: dict[tuple[str, ...], bool] = {}

    def echo(self, frame: SeenPacket) -> Echo:
        """The sequence is made up."""
        flow, leaves = frame.flow, frame.direction == "tx"
        if self._side is not None:
            return Echo(flow.src_port, 0, leaves == (self._side is Side.SENDER))
        key = (*sorted((flow.src, flow.dst)), str(flow.src_port))
        return Echo(flow.src_port, 0, leaves == self._leaves.setdefault(key, leaves))


def _frames(result: ImportResult) -> Iterator[Frame]:
    try:
        yield from read(result.source.text.path, result.source.text.below)
    except VmlatError as error:
        result.source.note(f"ends early: {error}")
