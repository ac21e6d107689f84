"""What vmlat itself has written: captures of readings, and recorded sessions.

A capture is JSON lines: ``{"type": "capture", "schema": 1, "name": ...}`` first, then one
:func:`vmlat_tui.model.readings.to_json` per line, in any order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Optional

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.importers import lines
from vmlat_tui.importers.intake import Intake, Side, Trouble
from vmlat_tui.importers.parser import HOST_LEGS
from vmlat_tui.model import readings
from vmlat_tui.model.frames import Frame
from vmlat_tui.session import recording

SCHEMA = 1


def recognised(head: str) -> Optional[str]:
    """``capture``, ``recording`` or None, by the first line."""
    try:
        first = json.loads(head.partition("\n")[0])
    except (ValueError, RecursionError):
        return None
    kind = first.get("type") if isinstance(first, dict) else None
    return {"capture": "capture", "hello": "recording"}.get(str(kind))


def read_capture(intake: Intake) -> None:
    """Read the file of the intake's source."""
    source = intake.source
    for number, line in enumerate(lines.read(source.text)):
        try:
            value: Any = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError("no object")
            if number == 0:
                _head(intake, value)
            elif value.get("type") == "reading":
                reading = readings.from_json(value)
                intake.add(reading.packet, reading.intervals_ns)
            else:
                source.trouble(Trouble.FOREIGN, line)
        except (ValueError, RecursionError):
            source.trouble(Trouble.DAMAGED, line)


def _head(intake: Intake, value: dict[str, Any]) -> None:
    if value.get("schema") != SCHEMA:
        raise UsageError(
            f"{intake.source.text.path.name} has schema {value.get('schema')!r}",
            f"this program reads {SCHEMA}",
        )
    intake.tool("vmlat capture")
    name = value.get("name")
    intake.source.label = name if isinstance(name, str) else None


def read_recording(intake: Intake) -> None:
    """Echo packets of a recorded session; frames have no sequence number, so they join nothing."""
    source = intake.source
    source.text.size = source.text.path.stat().st_size
    initiators: dict[tuple[str, int], bool] = {}
    for frame in _frames(intake):
        source.text.lines += 1
        if frame["type"] != "packet":
            continue
        try:
            leaves, other = frame["direction"] == "tx", frame["flow"]["protocol"] != "icmp"
            total_ns = int(frame["total_ns"])
            flow = frame["flow"]
            ends = sorted((str(flow["src"]), str(flow["dst"])))
            key = (" ".join(ends), int(flow["src_port"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            source.trouble(Trouble.DAMAGED, str(frame.get("type")))
            continue
        if other:
            source.trouble(Trouble.OTHER, f"packet of {flow['protocol']}")
            continue
        # Who sent the first packet of a flow began the ping, unless the user knows better.
        if source.side is not None:
            request = leaves == (source.side is Side.SENDER)
        else:
            request = leaves == initiators.setdefault(key, leaves)
        side, segment = HOST_LEGS[leaves, 8 if request else 0]
        source.banner_side = source.banner_side or side
        intake.tool("vmlat recording")
        intake.add(None, {segment: total_ns})
    if source.records:
        source.note("a recording has no sequence numbers: its packets join no others")


def _frames(intake: Intake) -> Iterator[Frame]:
    try:
        yield from recording.read(intake.source.text.path)
    except VmlatError as error:
        intake.source.note(f"ends early: {error}")
