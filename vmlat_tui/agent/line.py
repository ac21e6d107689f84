"""The line that a frame becomes: never longer than a reader takes."""

from __future__ import annotations

from vmlat_tui.protocol import frames
from vmlat_tui.protocol.frames import Frame, encode

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
    for kind in _ROWS if frame["type"] == "stats" else ():
        excess = len(line) - frames.MAX_LINE
        if excess <= 0:
            break
        frame = _without(frame, kind, excess + _SPARE)
        line = encode(frame)
    if len(line) > frames.MAX_LINE:
        text = f"a {frame['type']} frame of {len(line) >> 20} MiB is too long to be sent"
        line = encode({"type": "notice", "text": text})
    return line


def _without(frame: Frame, kind: str, excess: int) -> Frame:
    """Without as many rows of a kind as make it shorter by ``excess`` bytes, or all of them."""
    rows = list(frame.get(kind, ()))
    if kind == "flows":
        rows.sort(key=lambda row: -int(row["packets"]))
    counters, count = frame["counters"], len(rows)
    while rows and excess > 0:
        excess -= len(encode(rows.pop()))
    left_out = counters.get("rows_left_out", 0) + count - len(rows)
    return {**frame, kind: rows, "counters": {**counters, "rows_left_out": left_out}}
