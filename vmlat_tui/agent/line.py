"""The line that a frame becomes: never longer than a reader takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vmlat_tui.model.jsonable import to_json
from vmlat_tui.protocol import frames, wire
from vmlat_tui.protocol.frames import Frame, encode
from vmlat_tui.protocol.session import NoticeFrame
from vmlat_tui.protocol.stats import StatsFrame

#: What ``stats`` do without, first to last.
_ROWS = ("flows", "wakeups", "legs")
#: The counters may be longer afterwards.
_SPARE = 4096


def line_of(frame: Frame) -> bytes:
    """At most :data:`frames.MAX_LINE` bytes.

    ``stats`` that would be longer leave rows out and count them: flows with the fewest packets,
    then the last threads, then the last legs.  Of another frame only a notice remains.
    """
    line = encode(frame)
    for kind in _ROWS:
        excess = len(line) - frames.MAX_LINE
        if excess <= 0 or not isinstance(frame, StatsFrame):
            break
        frame = _without(frame, kind, excess + _SPARE)
        line = encode(frame)
    if len(line) > frames.MAX_LINE:
        text = f"a {frames.type_of(frame)} frame of {len(line) >> 20} MiB is too long to be sent"
        line = encode(NoticeFrame(text))
    return line


def _without(frame: StatsFrame, kind: str, excess: int) -> StatsFrame:
    """Without as many rows of a kind as make it shorter by ``excess`` bytes, or all of them."""
    rows = list(getattr(frame, kind) or ())
    if kind == "flows":
        rows.sort(key=lambda row: -int(row.packets))
    count = len(rows)
    while rows and excess > 0:
        excess -= len(wire.line(to_json(rows.pop())))
    left_out = frame.counters.get("rows_left_out", 0) + count - len(rows)
    changes: dict[str, Any] = {
        kind: tuple(rows),
        "counters": {**frame.counters, "rows_left_out": left_out},
    }
    return replace(frame, **changes)
