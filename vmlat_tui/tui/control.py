"""What the user asks to be measured, and how the agent learns of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Optional

from vmlat_tui.errors import VmlatError
from vmlat_tui.model import filters
from vmlat_tui.model.requested import Requested
from vmlat_tui.model.topology import Topology
from vmlat_tui.protocol.commands import Describe, Measure, Release
from vmlat_tui.session.snapshot import NOTHING, Phase, Snapshot
from vmlat_tui.transport.source import Order
from vmlat_tui.tui.context import only_live

_DIRECTIONS = (("tx", "rx"), ("tx",), ("rx",))

#: Single packets a second: enough to look at, few enough to cost nothing.
MAX_RATE = 50


def uplinks_of(topology: Optional[Topology], taps: Sequence[str]) -> tuple[str, ...]:
    """The uplinks of these taps where the way is certain; empty leaves it to the agent."""
    if topology is None:
        return ()
    ways = {way.tap: way.uplinks for way in topology.ways}
    if not all(ways.get(tap) for tap in taps):
        return ()
    return tuple(dict.fromkeys(name for tap in taps for name in ways[tap]))


class Control:
    """What is requested: sent whole at every change, from :meth:`measure` until :meth:`release`.

    What is measured the agent says itself, moment by moment: :attr:`.Snapshot.acknowledged`.
    """

    def __init__(
        self, send: Callable[[Order], None], live: bool, changed: Callable[[], None]
    ) -> None:
        """``send`` reaches the agent, if it is ``live``; ``changed`` shows what is requested."""
        self._send, self._live, self._changed = send, live, changed
        self.requested = self._acknowledged = Requested(max_rate=MAX_RATE)
        self._now = NOTHING
        #: Of the last request; whether the agent measures, or is to, by it.
        self._number = 0
        self._measures = False

    def learn(self, now: Snapshot) -> None:
        """Take what the agent answered: once that is the last request, its word holds."""
        self._now = now
        if now.acknowledged is not None:
            self._acknowledged = now.acknowledged
        if self._measures and now.answered >= self._number:
            self.requested = self._acknowledged
            self._measures = now.acknowledged is not None

    @property
    def pending(self) -> str:
        """What is requested but not measured yet, in words; empty if there is no difference."""
        measured, requested = self._now.acknowledged, self.requested.words
        if requested == (measured.words if measured else ""):
            return ""
        return requested or "all packets"

    def measure(self, taps: tuple[str, ...]) -> None:
        """Measure these vNICs."""
        if not self._live:
            return
        uplinks = uplinks_of(self._now.topology, taps)
        self._request(replace(self.requested, vm_interfaces=taps, uplinks=uplinks))

    def _request(self, requested: Requested) -> None:
        self.requested, self._measures = requested, True
        self._number += 1
        self._send(Measure(requested, self._number))

    def release(self) -> None:
        """Measure nothing; raises :class:`VmlatError` on a recording, and if nothing is."""
        only_live(self._live)
        if self._now.measuring is None and self._now.phase is not Phase.ATTACHING:
            raise VmlatError("nothing is measured")
        self._measures = False
        self._send(Release())

    def want(self, **changes: Any) -> None:
        """Change filters, directions or threshold; raises :class:`VmlatError` on a recording."""
        only_live(self._live)
        requested = replace(self.requested, **changes)
        if self._measures:
            self._request(requested)
        else:
            self.requested = requested
        self._changed()

    def describe(self) -> None:
        """Ask what could be measured, unless a measurement shows it."""
        if self._live and self._now.measuring is None and self._now.host is None:
            self._send(Describe())

    def want_filter(self, line: str) -> None:
        """Measure what a filter in words selects; raises :class:`VmlatError` if it is wrong."""
        self.want(filters=filters.parse(line))

    def next_direction(self) -> None:
        """Both, TX only, RX only; raises like :meth:`want`."""
        now = self.requested.directions
        at = _DIRECTIONS.index(now) if now in _DIRECTIONS else -1
        self.want(directions=_DIRECTIONS[(at + 1) % len(_DIRECTIONS)])
