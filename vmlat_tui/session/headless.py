"""A measurement without screens, from the first figures to the final ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Optional, Protocol

from vmlat_tui.ending import ENDING
from vmlat_tui.errors import listed
from vmlat_tui.protocol.commands import Stop
from vmlat_tui.protocol.frames import Frame, type_of
from vmlat_tui.protocol.session import LinksFrame, PointHooks
from vmlat_tui.protocol.stats import StatsFrame
from vmlat_tui.transport.process import AgentSilent
from vmlat_tui.transport.source import Order
from vmlat_tui.words import clean

#: The agent compiles, loads and attaches before it measures.
START_LIMIT_S = 180.0
#: Until the final statistics.
END_LIMIT_S = 30.0
_STEP_S = 0.2


class FrameStream(Protocol):
    """Where frames come from and commands go."""

    def send(self, order: Order) -> None:
        """Give one command."""

    def next(self, timeout_s: float) -> Optional[Frame]:
        """The next frame, or None if none came in time."""


class Run:
    """Subclasses start the agent, and say what becomes of a frame in :meth:`take`.

    For one thread.
    """

    def __init__(self, duration_s: Optional[float]) -> None:
        """``duration_s`` is how long to watch; None: until interrupted."""
        self._duration_s = duration_s
        self._final = False

    def take(self, frame: Frame) -> None:
        """Use a frame; override."""

    def enough(self) -> bool:
        """There is nothing more to wait for; override."""
        return False

    def step(self, source: FrameStream, wait_s: float = _STEP_S) -> str:
        """Take one frame, if one comes soon; its type."""
        frame = source.next(wait_s)
        if frame is None:
            return ""
        self.take(frame)
        if isinstance(frame, StatsFrame):
            self._final = frame.final
        return type_of(frame)

    def watch(self, source: FrameStream) -> None:
        """Take frames until the time is over, there are enough, or somebody interrupts."""
        deadline = None if self._duration_s is None else time.monotonic() + self._duration_s
        while not ENDING.asked and not self.enough():
            wait_s = _STEP_S if deadline is None else min(_STEP_S, deadline - time.monotonic())
            if wait_s <= 0:
                return
            self.step(source, wait_s)

    def finish(self, source: FrameStream) -> None:
        """Stop the measurement and take what is left, last the final statistics."""
        source.send(Stop())
        deadline = time.monotonic() + END_LIMIT_S
        while not self._final:
            self.step(source)
            if time.monotonic() > deadline:
                raise AgentSilent(
                    "the agent did not end", f"no final statistics in {END_LIMIT_S:.0f} s"
                )


def watching(links: LinksFrame, points: Sequence[PointHooks], by_name: bool = False) -> str:
    """What an agent watches, by its first ``links``, and what of it cannot be observed."""
    vnets = listed(clean(one.name) for one in links.vm_interfaces)
    missing = [p for p in points if not p.hooks]
    note = f"watching {vnets} -> {listed(map(clean, links.leaves)) or 'no uplink'}"
    if missing and by_name:
        names = ", ".join(p.point for p in missing)
        note += f"; not observed: {names} ({clean(missing[0].reason)})"
    elif missing:
        note += f"; {len(missing)} points are not observed ({clean(missing[0].reason)})"
    return note
