"""``vmlat guest``: a ping as the guest that this runs in sees it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.commands.options import selection
from vmlat_tui.commands.options.host import chosen_host, host_options
from vmlat_tui.commands.options.output import chosen_output, output_options
from vmlat_tui.errors import UsageError
from vmlat_tui.export.exporter import Exporter, Record, Values
from vmlat_tui.export.guest_text import Figures, trip_text
from vmlat_tui.export.view import final
from vmlat_tui.model import captures
from vmlat_tui.model.filters import address
from vmlat_tui.model.flows import Filter
from vmlat_tui.model.guest import RoundTrip
from vmlat_tui.ping.capture import trip_json
from vmlat_tui.protocol.commands import Configure
from vmlat_tui.protocol.echo import EchoFrame
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.stats import StatsFrame
from vmlat_tui.session.headless import Headless
from vmlat_tui.transport.hosts import Host
from vmlat_tui.words import say


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``vmlat guest``."""
    parser.description = (
        "Print each ping that this machine, a guest, sends or answers: how long it is in the "
        "guest's own stack, and outside it. A latency is in microseconds. The guest needs Python "
        "and BCC of its distribution. The output can be read by `vmlat analyze`."
    )
    which = parser.add_argument_group("which pings")
    which.add_argument("--src-ip", metavar="ADDRESS", help="who pings")
    which.add_argument("--dst-ip", metavar="ADDRESS", help="who is pinged")
    host_options(parser.add_argument_group("where"))
    what = parser.add_argument_group("what to print")
    what.add_argument(
        "--latency-threshold", metavar="US",
        help="print only pings whose Total is at least this long; statistics count all",
    )  # fmt: skip
    what.add_argument(
        "--timeout", metavar="MS", default="1000",
        help="a ping is given up after so many milliseconds (default 1000)",
    )  # fmt: skip
    what.add_argument("--duration", metavar="S", help="stop after this many seconds")
    what.add_argument("--count", metavar="N", help="stop after this many pings")
    output_options(what)
    what.add_argument("--stats", action="store_true", help="print only the statistics at the end")


@dataclass(frozen=True)
class GuestRequest:
    """A checked command line."""

    host: Host
    wanted: Filter
    least_ns: int
    timeout_ns: int
    duration_s: Optional[float]
    count: Optional[int]
    output: Exporter
    stats_only: bool


def parse(args: argparse.Namespace) -> GuestRequest:
    """Check the options; raises :class:`UsageError`."""
    source, target = (
        None if text is None else address(text, option)
        for option, text in (("--src-ip", args.src_ip), ("--dst-ip", args.dst_ip))
    )
    try:
        wanted = Filter(source, target)
    except ValueError as error:
        raise UsageError("--src-ip and --dst-ip contradict each other", str(error)) from None
    least = selection.number(
        "--latency-threshold", args.latency_threshold, 0, 60_000_000, whole=False
    )
    timeout = selection.number("--timeout", args.timeout, 1, 600_000, whole=True)
    count = selection.number("--count", args.count, 1, 1e15, whole=True)
    return GuestRequest(
        chosen_host(args),
        wanted,
        int((least or 0) * 1000),
        int(timeout or 0) * 1_000_000,
        selection.number("--duration", args.duration, 0.1, 31_536_000, whole=False),
        int(count) if count else None,
        chosen_output(args),
        args.stats,
    )


class _Watching(Headless):
    """One run: frames in, pings out."""

    def __init__(self, request: GuestRequest) -> None:
        super().__init__(request.host, request.duration_s)
        self._request = request
        self._figures = Figures()
        self._printed = 0
        self._stats: Optional[StatsFrame] = None

    def run(self) -> int:
        timeout_ns = self._request.timeout_ns
        with self:
            hello = self.start(Configure(guest=True, timeout_ns=timeout_ns, interval_s=0.25))
            say("watching pings")
            self._request.output.write(Values({**captures.head(), "host": hello.host}))
            self.complete()
        return 0

    def enough(self) -> bool:
        """As many pings as were asked for."""
        return self._request.count is not None and self._printed >= self._request.count

    def take(self, frame: Frame) -> None:
        """Print it or keep it."""
        if isinstance(frame, EchoFrame):
            self._trip(frame.trip)
        elif isinstance(frame, StatsFrame):
            self._stats = frame

    def _trip(self, trip: RoundTrip) -> None:
        if self.enough() or not self._request.wanted.admits(trip.ends):
            return
        self._figures.add(trip)
        total_ns = trip.total_ns
        if trip.complete and total_ns is not None and total_ns < self._request.least_ns:
            return
        self._printed += 1
        if not self._request.stats_only:
            offset_ns = self.wall_offset_ns
            self._request.output.write(
                Record(lambda: trip_json(trip, offset_ns), lambda: trip_text(trip, offset_ns))
            )

    def end(self, interrupted: str) -> None:
        """Print the statistics."""
        counters = self._stats.counters if self._stats else {}
        self._request.output.write(
            Record(
                lambda: final(self._figures.json(counters), interrupted),
                lambda: self._figures.text(counters, interrupted),
            )
        )


def run(args: argparse.Namespace) -> int:
    """Watch until told to stop; Ctrl-C ends it with the statistics."""
    return _Watching(parse(args)).run()
