"""An agent that is driven without screens, from start to end: the same for every command."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Optional, TypeVar

from vmlat_tui.ending import ENDING
from vmlat_tui.errors import VmlatError, listed
from vmlat_tui.model.requested import Requested
from vmlat_tui.model.topology import Topology
from vmlat_tui.protocol.commands import Configure, Measure, Stop
from vmlat_tui.protocol.frames import Frame, as_hello
from vmlat_tui.protocol.session import (
    ErrorFrame,
    HelloFrame,
    HostFrame,
    LinksFrame,
    MeasuringFrame,
    NoticeFrame,
    PointHooks,
)
from vmlat_tui.protocol.stats import StatsFrame
from vmlat_tui.session import limits
from vmlat_tui.session.history import History
from vmlat_tui.session.snapshot import Moments, Snapshot
from vmlat_tui.session.vms import NO_VMS, taps_of
from vmlat_tui.transport import hosts
from vmlat_tui.transport.hosts import Host
from vmlat_tui.transport.process import AgentDied, AgentProcess, AgentSilent
from vmlat_tui.transport.source import Order, Source
from vmlat_tui.words import clean, say

#: How long one step of a wait takes at most, if nothing comes.
_STEP_S = 0.2
_NO_START, _NO_END = "the agent did not start", "the agent did not end"

_Headless = TypeVar("_Headless", bound="Headless")


class Headless:
    """One agent and what it has said.  A subclass says in :meth:`take` what becomes of a frame.

    A context manager, or :meth:`open` and :meth:`close`.  Whatever waits raises
    :class:`.VmlatError`: what the agent refuses, that it died, that it sent garbage, or that
    nothing came in time (:mod:`.limits`).  For one thread.
    """

    def __init__(self, host: Optional[Host] = None, duration_s: Optional[float] = None) -> None:
        """Nothing is started yet.

        ``host`` is this one unless it says otherwise.  ``duration_s`` is how long to watch; None:
        until interrupted.
        """
        self.host = host or hosts.here()
        self._duration_s = duration_s
        self._source: Optional[Source] = None
        #: The first frame, what discovery found last, since when it measures; None: not yet.
        self.hello: Optional[HelloFrame] = None
        self.topology: Optional[Topology] = None
        self.measuring: Optional[MeasuringFrame] = None
        #: The final statistics were there.
        self.over = False

    # ---- what differs ---------------------------------------------------------------------------

    def connect(self) -> Source:
        """Start the agent."""
        return AgentProcess(self.host)

    def take(self, frame: Frame) -> None:
        """Use a frame."""

    def notice(self, text: str) -> None:
        """Take what the agent has to say to the user."""
        say(clean(text))

    def refused(self, error: VmlatError) -> None:
        """Take that the agent does not do something."""
        raise error

    def enough(self) -> bool:
        """There is nothing more to watch for."""
        return False

    def end(self, interrupted: str) -> None:
        """Make use of what was measured; ``interrupted`` says why it is not all."""

    # ---- the agent ------------------------------------------------------------------------------

    def open(self) -> None:
        """Start it."""
        self._source = self.connect()

    def close(self) -> None:
        """End it; returns when it is gone.  May be called twice."""
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def __enter__(self: _Headless) -> _Headless:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, order: Order) -> None:
        """Give it a command."""
        assert self._source is not None, "it is open"
        self._source.send(order)

    @property
    def wall_offset_ns(self) -> int:
        """Turns times of its frames into wall time."""
        return self.hello.wall_offset_ns if self.hello else 0

    # ---- waiting --------------------------------------------------------------------------------

    def step(self, wait_s: float = _STEP_S) -> Optional[Frame]:
        """Take one frame, if one comes soon."""
        assert self._source is not None, "it is open"
        frame = self._source.next(wait_s)
        if frame is None:
            return None
        if isinstance(frame, HostFrame):
            pass  # who is only asked for that says nothing before
        elif self.hello is None:
            self.hello = as_hello(frame)
        elif isinstance(frame, NoticeFrame):
            self.notice(frame.text)
        elif isinstance(frame, ErrorFrame):
            self.refused(frame.exception)
        elif isinstance(frame, Topology):
            self.topology = frame
        elif isinstance(frame, MeasuringFrame):
            self.measuring = frame
        elif isinstance(frame, StatsFrame):
            self.over = frame.final
        self.take(frame)
        return frame

    def until(
        self, done: Callable[[], bool], limit_s: float, title: str, missing: str = "nothing"
    ) -> None:
        """Take frames until it is done; ``title`` and ``missing`` say what is wrong if not."""
        if not self.within(limit_s, done):
            raise AgentSilent(title, f"{missing} in {limit_s:.0f} s")

    def within(self, limit_s: float, done: Callable[[], bool]) -> bool:
        """Take frames until it is done or the time is over; whether it is done."""
        deadline = time.monotonic() + limit_s
        while not done():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            self.step(min(_STEP_S, left_s))
        return True

    # ---- from the start to the end --------------------------------------------------------------

    def start(self, configure: Configure) -> HelloFrame:
        """Have it begin; if that is to measure, its probes are in place then."""
        self.send(configure)
        self.until(lambda: self.hello is not None, limits.START_S, _NO_START, "no frame")
        assert self.hello is not None
        return self.hello

    def look(self) -> Topology:
        """Wait for what discovery finds."""
        self.until(lambda: self.topology is not None, limits.LOOK_S, NO_VMS)
        assert self.topology is not None
        return self.topology

    def taps(self, vms: Sequence[str]) -> tuple[str, ...]:
        """Those of these VMs; raises :class:`.UsageError` for a VM without."""
        return tuple(taps_of(self, self.step, vms))

    def measure(self, requested: Requested) -> MeasuringFrame:
        """Have it measure, which it did not so far; returns when the probes are in place."""
        self.send(Measure(requested))
        self.until(lambda: self.measuring is not None, limits.START_S, _NO_START, "no probes")
        assert self.measuring is not None
        return self.measuring

    def watch(self) -> None:
        """Take frames until the time is over, there are enough, or somebody interrupts."""
        deadline = None if self._duration_s is None else time.monotonic() + self._duration_s
        while not ENDING.asked and not self.enough():
            wait_s = _STEP_S if deadline is None else min(_STEP_S, deadline - time.monotonic())
            if wait_s <= 0:
                return
            self.step(wait_s)

    def complete(self) -> None:
        """Watch, stop the measurement, take the final statistics, and :meth:`end`.

        A signal ends the watching only.  Of an agent that dies, what it had sent is used.
        """
        try:
            with ENDING.orderly():
                self.watch()
                self.send(Stop())
                self.until(lambda: self.over, limits.END_S, _NO_END, "no final statistics")
        except AgentDied as death:
            self.end(str(death))
            raise
        self.end("")


class Remembering(Headless):
    """Keeps everything in a history."""

    def __init__(self, host: Optional[Host] = None, duration_s: Optional[float] = None) -> None:
        """Nothing is started yet."""
        super().__init__(host, duration_s)
        self.history = History()

    @property
    def moments(self) -> Moments:
        """All that is remembered."""
        return self.history.moments()

    @property
    def now(self) -> Snapshot:
        """The last moment."""
        return self.moments[-1]

    def take(self, frame: Frame) -> None:
        """Remember it."""
        self.history.take(frame)


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
