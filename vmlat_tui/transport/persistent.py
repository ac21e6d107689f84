"""An agent on another host, for longer than one connection to it lasts.

When the connection breaks, ``lost`` takes the place of frames; then it is tried again, less and
less often, and what was requested last is requested again.  What was counted meanwhile is not
known: a new agent begins at zero, with a new ``hello``.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from typing import Optional

from vmlat_tui.errors import VmlatError
from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol.commands import Command, Configure, Measure, Release
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.session import AckFrame, ErrorFrame, HelloFrame, LostFrame, ReleasedFrame
from vmlat_tui.transport.hosts import Host
from vmlat_tui.transport.process import AgentDied, AgentProcess
from vmlat_tui.transport.source import Order, Pace, Seek, Step

_log = logging.getLogger(__name__)

#: Before each next try; the last one again and again.
_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
#: A connection that lasted for so long was good: the next tries are soon again.
_STEADY_S = 30.0
#: Until ``hello``: ssh has its own, shorter limit, then the agent travels and starts.
_HELLO_S = 60.0


class Persistent:
    """A source: frames of whichever connection there is.  For one thread."""

    def __init__(self, host: Host, configuration: Configure) -> None:
        """Every agent is configured like this; connects at the first :meth:`next`."""
        self._host = host
        self._configuration = configuration
        self._agent: Optional[AgentProcess] = None
        #: The last ``measure``, and by what an agent measures by its own word.
        self._requested: Optional[Measure] = None
        self._acknowledged: Optional[Requested] = None
        self._waiting: Optional[Frame] = None
        self._attempt = 0
        self._lost: Optional[LostFrame] = None
        #: When the next try is due; when this one must have brought ``hello``; when it did.
        self._due_s = self._limit_s = 0.0
        self._since_s: Optional[float] = None
        self._known = False

    def open(self) -> None:
        """Connect now, and wait until the agent answers; raises :class:`VmlatError` if not."""
        while self._waiting is None:
            self._waiting = self.next(1.0)

    # ---- a source -----------------------------------------------------------------------------

    def send(self, order: Order) -> None:
        """Give one command; without a connection, the next agent is told what to measure.

        A ``measure`` has an ``id``, which is higher than that of the one before.
        """
        if isinstance(order, (Pace, Seek, Step)):
            return
        if isinstance(order, Measure):
            self._requested = order
        elif isinstance(order, Release):
            self._requested = self._acknowledged = None
        if self._agent is not None and self._since_s is not None:
            self._give(self._agent, order)
        elif not isinstance(order, (Measure, Release)):
            raise VmlatError(f"there is no connection to {self._host.name} now")

    def next(self, timeout_s: float) -> Optional[Frame]:
        """The next frame; raises what no further try would change."""
        if self._waiting is not None:
            frame, self._waiting = self._waiting, None
            return frame
        try:
            if self._agent is None:
                return self._connect(timeout_s)
            arrived = self._agent.next(timeout_s)
            if arrived is not None:
                self._take(arrived)
            elif self._since_s is None and time.monotonic() > self._limit_s:
                raise AgentDied(
                    f"{self._host.name} does not answer", f"no frame in {_HELLO_S:.0f} s"
                )
        except AgentDied as death:
            return self._lose(death)
        return arrived

    @staticmethod
    def _give(agent: AgentProcess, command: Command) -> None:
        with contextlib.suppress(AgentDied):  # the next frame will be that
            agent.send(command)

    def close(self) -> None:
        """End the agent, if there is a connection to it."""
        if self._agent is not None:
            self._agent.close()

    # ---- connections --------------------------------------------------------------------------

    def _connect(self, timeout_s: float) -> Optional[Frame]:
        """Begin to, once it is time; the frame that says so, except at the very first."""
        wait_s = self._due_s - time.monotonic()
        if wait_s > 0:
            time.sleep(min(wait_s, timeout_s))
            return None
        self._agent = AgentProcess(self._host)
        self._since_s, self._limit_s = None, time.monotonic() + _HELLO_S
        self._agent.send(self._configuration)
        return replace(self._lost, wait_s=0) if self._lost else None

    def _take(self, frame: Frame) -> None:
        assert self._agent is not None
        if isinstance(frame, HelloFrame) and self._since_s is None:
            self._since_s, self._known = time.monotonic(), True
            self._request_again(self._agent)
        elif isinstance(frame, AckFrame) and frame.requested is not None:
            self._acknowledged = frame.requested
        elif isinstance(frame, ReleasedFrame):
            self._acknowledged = None
        elif isinstance(frame, ErrorFrame) and self._requested and frame.number is not None:
            before = self._acknowledged
            if frame.number == self._requested.id:
                self._requested = replace(self._requested, requested=before) if before else None

    def _request_again(self, agent: AgentProcess) -> None:
        """What was measured, and then what was requested beyond that: it may be refused."""
        before, self._acknowledged = self._acknowledged, None
        if self._requested is None:
            return
        _log.info("[%s] requested again: %s", self._host.name, self._requested)
        if before is not None and before != self._requested.requested:
            self._give(agent, Measure(before))
        self._give(agent, self._requested)

    def _lose(self, death: AgentDied) -> LostFrame:
        assert self._agent is not None
        self._agent.close()
        self._agent = None
        self._host.check()
        if not self._known:
            raise death
        now = time.monotonic()
        if self._since_s is not None and now - self._since_s > _STEADY_S:
            self._attempt = 0
        pause_s = _PAUSES_S[min(self._attempt, len(_PAUSES_S) - 1)]
        self._attempt += 1
        self._due_s, self._since_s = now + pause_s, None
        self._lost = LostFrame(death.title, death.cause, self._attempt, pause_s)
        _log.warning(
            "[%s] %s; attempt %d in %.0f s", self._host.name, death, self._attempt, pause_s
        )
        return self._lost
