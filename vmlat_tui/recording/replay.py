"""A recorded file as a source that obeys what concerns its time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from vmlat_tui.protocol.frames import Frame, type_of
from vmlat_tui.protocol.session import HelloFrame
from vmlat_tui.recording.read import read, time_of
from vmlat_tui.transport.source import Order, Pace, Seek, Step, StreamEnded

#: Frames that came when they say.
_PACED = frozenset({"vitals", "stats", "packet", "drop"})
#: A gap between two frames is not slept through for longer than this.
_LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True)
class Recording:
    """What is to be replayed: from ``at_ns`` on (host's clock), with a word to the viewer."""

    path: Path
    speed: Optional[float] = 1.0
    at_ns: Optional[int] = None
    about: str = ""

    def check(self) -> None:
        """Raise :class:`VmlatError` if this is not a recording that can be read."""
        replay = self.source()
        try:
            replay.peek()
        finally:
            replay.close()

    def source(self) -> Replay:
        """The frames of it, in time."""
        return Replay(self.path, self.speed, self.at_ns)


class Replay:
    """Gives the frames of a file when their time has come.  For one thread.

    It obeys :class:`.Pace`, :class:`.Seek` (forwards only) and :class:`.Step`.
    """

    def __init__(
        self,
        path: Path,
        speed: Optional[float] = 1.0,
        at_ns: Optional[int] = None,
        paused: bool = False,
    ) -> None:
        """``speed`` 2.0 is twice as fast as it was; None does not wait at all.

        Nothing is waited for up to the first frame at ``at_ns`` (host's clock) or later.
        """
        self._frames = read(path)
        self._speed, self._paused = speed, paused
        self._target_ns = at_ns
        #: Readings that are still to come at once.
        self._steps = 0
        self._reading = "vitals"
        self._waiting: Optional[Frame] = None
        self._due_s = time.monotonic()
        self._last_ns: Optional[int] = None

    def peek(self) -> Frame:
        """The first frame, without taking it; raises :class:`VmlatError` if there is none."""
        if self._waiting is None:
            self._waiting = next(self._frames)
        return self._waiting

    def send(self, order: Order) -> None:
        """Obey what concerns time."""
        if isinstance(order, Pace):
            self._speed, self._paused = order.speed, order.paused
            self._due_s = time.monotonic()
        elif isinstance(order, Seek):
            self._target_ns = order.t_ns
        elif isinstance(order, Step):
            self._steps += order.readings

    def next(self, timeout_s: float) -> Optional[Frame]:
        """The next frame when its time has come; raises :class:`StreamEnded` after the last."""
        if self._waiting is None:
            self._waiting = next(self._frames, None)
            if self._waiting is None:
                raise StreamEnded("the recording is over")
            self._schedule(self._waiting)
        wait_s = self._wait_s()
        if wait_s > 0:
            time.sleep(min(wait_s, timeout_s))
            if wait_s > timeout_s:
                return None
        frame, self._waiting = self._waiting, None
        self._passed(frame)
        return frame

    def _wait_s(self) -> float:
        if self._target_ns is not None or self._steps:
            return 0.0
        if self._paused:
            return math.inf
        return 0.0 if self._speed is None else self._due_s - time.monotonic()

    def _schedule(self, frame: Frame) -> None:
        # What describes the state of things may be old: it is due at once.
        t_ns = time_of(frame) if type_of(frame) in _PACED else None
        if t_ns is None or self._speed is None:
            return
        if self._last_ns is not None:
            gap_s = (t_ns - self._last_ns) / 1e9 / self._speed
            self._due_s = max(
                self._due_s, min(self._due_s + gap_s, time.monotonic() + _LONGEST_PAUSE_S)
            )
        self._last_ns = max(t_ns, self._last_ns or t_ns)

    def _passed(self, frame: Frame) -> None:
        """See whether what was asked for at once has been reached; time goes on from there."""
        kind = type_of(frame)
        if kind in ("measuring", "stats") or (isinstance(frame, HelloFrame) and frame.points):
            self._reading = "stats"
        if kind not in _PACED or (self._target_ns is None and not self._steps):
            return
        if kind == self._reading:
            self._steps = max(0, self._steps - 1)
        if self._target_ns is not None and (time_of(frame) or 0) >= self._target_ns:
            self._target_ns = None
        self._due_s = time.monotonic()

    def close(self) -> None:
        """Nothing is left open longer than its generator."""
        close = getattr(self._frames, "close", None)
        if close:
            close()
