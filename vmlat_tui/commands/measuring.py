"""What ``trace``, ``irq``, ``kick`` and ``icmp`` have in common: the agent, packets, statistics.

What they make of packets is a :class:`View`.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Optional, Union

from vmlat_tui.commands.options import packets as request
from vmlat_tui.commands.options.packets import PrintRequest
from vmlat_tui.ending import ENDING
from vmlat_tui.errors import VmlatError
from vmlat_tui.export.view import View
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.flows import Flow
from vmlat_tui.model.packets import DropFrame, PacketFrame, SeenPacket
from vmlat_tui.model.topology import Topology
from vmlat_tui.protocol.commands import Configure
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.session import HelloFrame, LinksFrame, MeasuringFrame, PointHooks
from vmlat_tui.protocol.stats import FlowCount, StatsFrame
from vmlat_tui.session import limits
from vmlat_tui.session.headless import Headless, watching
from vmlat_tui.words import clean, say

#: So many flows are remembered, and so many packets may wait until it is known whose they are.
_MOST_FLOWS, _MOST_HELD = 1 << 17, 10_000
#: So many vNICs are distinguished in single packets; those of all others are of this one.
_MOST_VNICS, OTHERS = 10_000, "others"


@dataclass(frozen=True)
class Command:
    """One of the commands.

    ``direction`` (tx, rx or both) is None where there is an option for it.  ``points`` are those
    that it is about, none: all.  ``discover``: it needs to know the VMs of the host.  ``pings``:
    its entries are pings, made of several packets, so it needs every one.
    """

    description: str
    threshold: str
    view: Callable[[PrintRequest], View]
    direction: Optional[str] = None
    points: tuple[str, ...] = ()
    discover: bool = False
    pings: bool = False

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the options."""
        parser.description = self.description
        request.configure(parser, self.threshold, self.direction, self.pings)

    def run(self, args: argparse.Namespace) -> int:
        """Measure until told to stop; Ctrl-C ends it with the statistics."""
        return Driver(self, request.parse(args)).run()


class Driver(Headless):
    """One run: frames in, entries out."""

    def __init__(self, command: Command, request: PrintRequest) -> None:
        """Nothing is started yet."""
        super().__init__(request.host, request.duration_s)
        self._command = command
        self._request = request
        self._view = command.view(request)
        self._output = request.output
        self._counted = 0
        self._points: list[PointHooks] = []
        self._latest: Optional[StatsFrame] = None
        self._flows: dict[tuple[str, str, Flow], FlowCount] = {}
        self._vnics: set[Optional[str]] = set()
        self._begin_ns = 0
        self._present: Optional[dict[str, int]] = None
        #: Packets that wait for what discovery finds; None: they do not.
        self._held: Optional[list[SeenPacket]] = [] if command.discover else None

    def run(self) -> int:
        """From the agent's start to its end; returns the exit status."""
        with self:
            self._begin(*self._start())
            self.complete()
        return 0

    def _start(self) -> tuple[HelloFrame, Optional[MeasuringFrame]]:
        """Have it measure; the ``hello``, and what has the points if that has none."""
        request = self._request
        packets, every = request.packets, self._command.pings
        requested = packets.requested(
            threshold_ns=0 if every else request.threshold_ns,
            max_rate=request.max_rate,
            emit=every or not request.stats_only,
            detail=not (every or request.stats_only),
            rung=request.rung,
            offsets=request.offsets,
        )
        look = Configure(
            discover=self._command.discover or bool(packets.vms),
            interval_s=0.25 if request.count and request.stats_only else 1.0,
            connect=packets.uri,
        )
        if not packets.vms:
            return self.start(replace(look, requested=requested)), None
        hello = self.start(replace(look, measure=False))
        taps = self.taps(packets.vms)
        return hello, self.measure(replace(requested, vm_interfaces=taps))

    def _begin(self, hello: HelloFrame, measuring: Optional[MeasuringFrame]) -> None:
        self._begin_ns = measuring.t_ns if measuring else hello.clock.mono_ns
        ours, points = self._command.points, (measuring or hello).points
        self._points = [p for p in points if not ours or p.point in ours]
        seen = [p for p in self._points if p.hooks]
        if ours and self._points and len(seen) < 2:
            missing = next(p for p in self._points if not p.hooks)
            raise VmlatError(
                f"point {missing.point} cannot be observed",
                clean(missing.reason),
                "run `vmlat doctor`",
            )
        head = self._view.begin(hello)
        if head is not None:
            self._output.write(head)

    def watch(self) -> None:
        """Let packets wait until it is known whose they are."""
        self.within(limits.HOLD_S, lambda: self._held is None or ENDING.asked)
        self._release()
        super().watch()

    def _release(self) -> None:
        held, self._held = self._held, None
        for frame in held or ():
            self._show(frame)

    def _interfaces(self, links: LinksFrame) -> None:
        """Say what is watched, and later what came and what went."""
        before, self._present = (
            self._present,
            {v.name: v.ifindex for v in links.vm_interfaces if v.ifindex is not None},
        )
        if before is None:
            say(watching(links, self._points, bool(self._command.points)))
            return
        for name in before.keys() - self._present.keys():
            say(f"{clean(name)} vanished; waiting for it")
        for name, ifindex in self._present.items():
            if before.get(name) != ifindex:
                say(f"{clean(name)} is there, watching it")

    def enough(self) -> bool:
        """As many packets as were asked for."""
        count = self._request.count
        if count is None:
            return False
        if self._command.pings or not self._request.stats_only:
            return self._counted >= count
        return self._latest is not None and self._latest.ended(Bin.COMPLETED) >= count

    def take(self, frame: Frame) -> None:
        """Print it, keep it, or say it."""
        if isinstance(frame, (PacketFrame, DropFrame)):
            self._take_packet(self._of_known(frame))
        elif isinstance(frame, StatsFrame):
            self._take_stats(frame)
        elif isinstance(frame, Topology):
            self._view.learn(frame)
            self._release()
        elif isinstance(frame, LinksFrame):
            self._interfaces(frame)

    def _take_packet(self, frame: SeenPacket) -> None:
        if self._held is None:
            self._show(frame)
            return
        self._held.append(frame)
        if len(self._held) >= _MOST_HELD:
            self._release()

    def _take_stats(self, frame: StatsFrame) -> None:
        self._flows.update({row.key: row for row in frame.flows})
        for key in list(itertools.islice(self._flows, max(0, len(self._flows) - _MOST_FLOWS))):
            del self._flows[key]
        self._latest = replace(frame, flows=tuple(self._flows.values()))
        if self._held is None:
            self._show(frame)

    def _of_known(self, frame: SeenPacket) -> SeenPacket:
        vnic = frame.vm_interface
        if vnic in self._vnics or len(self._vnics) < _MOST_VNICS:
            self._vnics.add(vnic)
            return frame
        return replace(frame, vm_interface=OTHERS)

    def _show(self, frame: Union[SeenPacket, StatsFrame]) -> None:
        if self._request.stats_only and not self._command.pings:
            return
        for entry in () if self.enough() else self._view.entries(frame):
            self._counted += entry.counts
            if not self._request.stats_only:
                self._output.write(entry)
            if self.enough():
                return

    def end(self, interrupted: str) -> None:
        """Print the statistics."""
        self._release()
        stats = self._latest
        if stats is not None:
            duration_ns = stats.t_ns - self._begin_ns
            self._output.write(self._view.summary(stats, duration_ns, interrupted))
