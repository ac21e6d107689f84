"""From when to when a recording goes, and what people mean by a time in it."""

from __future__ import annotations

import datetime
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from vmlat_tui.errors import UsageError
from vmlat_tui.protocol.frames import type_of
from vmlat_tui.protocol.session import HelloFrame
from vmlat_tui.recording.read import READINGS, read, time_of

_S = 1_000_000_000


def minutes(span_ns: int) -> str:
    """A time in a recording as ``m:ss``; minutes go on beyond 59."""
    seconds = max(0, span_ns) // _S
    return f"{seconds // 60}:{seconds % 60:02d}"


@dataclass(frozen=True)
class Outline:
    """First and last reading on the clock of the host, and what leads from it to wall time."""

    begin_ns: int
    end_ns: int
    wall_offset_ns: int

    def position(self, t_ns: int) -> str:
        """Where a moment is: ``0:12 of 1:00``."""
        return f"{minutes(t_ns - self.begin_ns)} of {minutes(self.end_ns - self.begin_ns)}"

    def moment(self, text: str) -> int:
        """The host's time of what a user wrote; raises :class:`UsageError`.

        ``90``, ``1.5`` and ``1:30`` count from the beginning, ``-10`` from the end, and
        ``14:03:20`` is the time of day that the screens show.
        """
        try:
            t_ns = self._moment(text.strip())
        except ValueError:
            raise UsageError(
                f"{text!r} is not a time of a recording",
                "",
                "give seconds, m:ss, -seconds from the end, or the time of day as h:mm:ss",
            ) from None
        if not self.begin_ns <= t_ns <= self.end_ns:
            length = minutes(self.end_ns - self.begin_ns)
            raise UsageError(
                f"{text} is not in the recording",
                f"it goes from 0:00 to {length}, {self._day(self.begin_ns):%H:%M:%S} "
                f"to {self._day(self.end_ns):%H:%M:%S}",
            )
        return t_ns

    def _moment(self, text: str) -> int:
        parts = text.split(":")
        if len(parts) == 1:
            seconds = float(text)
            if not abs(seconds) < 1e9:
                raise ValueError(text)
            return (self.end_ns if text.startswith("-") else self.begin_ns) + int(seconds * _S)
        if not all(part.isdecimal() for part in parts) or any(int(p) > 59 for p in parts[1:]):
            raise ValueError(text)
        if len(parts) == 2:
            return self.begin_ns + (int(parts[0]) * 60 + int(parts[1])) * _S
        begin = self._day(self.begin_ns)
        hour, minute, second = map(int, parts)
        day = begin.replace(hour=hour, minute=minute, second=second, microsecond=0)
        if day < begin.replace(microsecond=0):
            day += datetime.timedelta(days=1)
        # The second in which it begins is not before it.
        return max(self.begin_ns, int(day.timestamp()) * _S - self.wall_offset_ns)

    def _day(self, t_ns: int) -> datetime.datetime:
        return datetime.datetime.fromtimestamp((t_ns + self.wall_offset_ns) // _S)


def outline(path: Path, end: Optional[threading.Event] = None) -> Optional[Outline]:
    """Go through a whole file; None if it has no reading.  Raises like :func:`.recording.read`.

    Long recordings take seconds: ``end`` is set by who does not want to know any more.
    """
    wall_offset_ns = 0
    times: list[int] = []
    for frame in read(path):
        if end is not None and end.is_set():
            return None
        if isinstance(frame, HelloFrame):
            wall_offset_ns = frame.wall_offset_ns
        elif type_of(frame) in READINGS:
            times = [*times[:1], time_of(frame) or 0]
    return Outline(times[0], times[-1], wall_offset_ns) if times else None
