"""What the user wants measured, and how the agent is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Optional

from vmlat_tui.errors import VmlatError
from vmlat_tui.model import filters
from vmlat_tui.model.flows import Filter
from vmlat_tui.model.topology import Topology
from vmlat_tui.session.snapshot import Phase

if TYPE_CHECKING:
    from vmlat_tui.tui.app import VmlatApp

_DIRECTIONS = (("tx", "rx"), ("tx",), ("rx",))

#: Single packets a second: enough to look at, few enough to cost nothing.
MAX_RATE = 50


@dataclass(frozen=True)
class Wanted:
    """vNICs by their taps, which of their packets, and which single ones."""

    taps: tuple[str, ...] = ()
    uplinks: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    #: The filter as the user said it.
    filter_words: str = ""
    directions: tuple[str, ...] = ("tx", "rx")
    threshold_ns: int = 0

    def settings(self) -> dict[str, Any]:
        """Fields of the command ``settings``."""
        return {
            "directions": list(self.directions),
            "threshold_ns": self.threshold_ns,
            "max_rate": MAX_RATE,
            "emit": True,
            "sample": 1,
            "detail": True,
        }

    def interfaces(self) -> dict[str, Any]:
        """Fields of the command ``watch``."""
        return {"vm_interfaces": list(self.taps), "uplinks": list(self.uplinks)}

    def packets(self) -> dict[str, Any]:
        """Fields of the command ``filter``."""
        return {"filters": [f.to_json() for f in self.filters]}

    def everything(self) -> dict[str, Any]:
        """Fields of the command ``measure``."""
        return {**self.interfaces(), **self.packets(), **self.settings()}

    @property
    def words(self) -> str:
        """For the top line: what is left out, if anything."""
        parts = [self.filter_words] if self.filter_words else []
        if len(self.directions) == 1:
            parts.append(f"{self.directions[0].upper()} only")
        if self.threshold_ns:
            parts.append(f"packets from {self.threshold_ns / 1000:g} µs")
        return ", ".join(parts)


def uplinks_of(topology: Optional[Topology], taps: Sequence[str]) -> tuple[str, ...]:
    """The uplinks of these taps where the way is certain; empty leaves it to the agent."""
    if topology is None:
        return ()
    ways = {way.tap: way.uplinks for way in topology.ways}
    if not all(ways.get(tap) for tap in taps):
        return ()
    return tuple(dict.fromkeys(name for tap in taps for name in ways[tap]))


class Control:
    """The wish as it stands; every change is sent while a measurement runs."""

    def __init__(self, app: VmlatApp) -> None:
        """``app`` has the feed that commands go to."""
        self._app = app
        self.wanted = self._before = Wanted()

    def measure(self, taps: tuple[str, ...]) -> None:
        """Measure these vNICs."""
        if not self._app.live:
            return
        now = self._app.moments[-1]
        self._before = self.wanted
        self.wanted = replace(self.wanted, taps=taps, uplinks=uplinks_of(now.topology, taps))
        if now.measuring is None:
            self._app.feed.send("measure", **self.wanted.everything())
        else:
            self._app.feed.send("watch", **self.wanted.interfaces())

    def release(self) -> None:
        """Measure nothing; raises :class:`VmlatError` on a recording, and if nothing is."""
        if not self._app.live:
            raise VmlatError("this is a recording", "what it measured cannot be changed")
        now = self._app.moments[-1]
        if now.measuring is None and now.phase is not Phase.ATTACHING:
            raise VmlatError("nothing is measured")
        self._app.feed.send("release")

    def want(self, **changes: Any) -> None:
        """Change filter, direction or threshold; raises :class:`VmlatError` on a recording."""
        if not self._app.live:
            raise VmlatError("this is a recording", "what it measured cannot be changed")
        self._before, self.wanted = self.wanted, replace(self.wanted, **changes)
        if self._app.moments[-1].measuring is not None:
            if "filters" in changes:
                self._app.feed.send("filter", **self.wanted.packets())
            else:
                self._app.feed.send("settings", **self.wanted.settings())
        self._app.refill()

    def describe(self) -> None:
        """Ask what could be measured, unless a measurement shows it."""
        now = self._app.moments[-1]
        if self._app.live and now.measuring is None and now.host is None:
            self._app.feed.send("describe")

    def refused(self) -> None:
        """The last wish was not granted: what was before is still so."""
        self.wanted = self._before

    def want_filter(self, line: str) -> None:
        """Measure what a filter in words selects; raises :class:`VmlatError` if it is wrong."""
        self.want(filters=filters.parse(line), filter_words=" ".join(line.split()))

    def next_direction(self) -> None:
        """Both, TX only, RX only; raises like :meth:`want`."""
        at = _DIRECTIONS.index(self.wanted.directions)
        self.want(directions=_DIRECTIONS[(at + 1) % len(_DIRECTIONS)])
