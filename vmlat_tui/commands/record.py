"""``vmlat record FILE``: what the screens would get, written down without them."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from vmlat_tui.commands.options import selection
from vmlat_tui.commands.options.host import chosen_host
from vmlat_tui.commands.options.output import check_place
from vmlat_tui.commands.options.packets import limits
from vmlat_tui.commands.options.selection import PacketSelection
from vmlat_tui.ending import ENDING
from vmlat_tui.model.bins import Bin
from vmlat_tui.protocol.commands import Configure
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.session import LinksFrame, MeasuringFrame
from vmlat_tui.protocol.stats import StatsFrame
from vmlat_tui.recording.write import Tee
from vmlat_tui.safe_files import NewFile, new_file
from vmlat_tui.session.headless import Headless
from vmlat_tui.transport.hosts import Host
from vmlat_tui.words import clean, say


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``vmlat record``."""
    parser.description = (
        "Measure VMs of a host and write the session to a file, until Ctrl-C. `vmlat replay` "
        "shows it, on any machine. Only its owner may read the file: it holds names and addresses."
    )
    parser.add_argument(
        "file", metavar="FILE", help="such as case17.vmlat.gz; a name in .gz is compressed"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if there is one")
    parser.add_argument("--duration", metavar="S", help="stop after this many seconds")
    selection.configure(parser)
    single = parser.add_argument_group("single packets (statistics count all)")
    single.add_argument(
        "--latency-threshold", metavar="US", help="record those that took at least this long"
    )
    single.add_argument(
        "--max-rate",
        metavar="N",
        default="50",
        help="record at most so many a second, 0: no limit (default 50); the others are counted",
    )


@dataclass(frozen=True)
class RecordRequest:
    """A checked command line."""

    host: Host
    path: Path
    force: bool
    packets: PacketSelection
    threshold_ns: int
    max_rate: int
    duration_s: Optional[float]


def parse(args: argparse.Namespace) -> RecordRequest:
    """Check the options against each other, and the place; raises :class:`UsageError`."""
    packets = selection.parse(args)
    threshold_ns, max_rate, duration_s = limits(args)
    path = Path(args.file)
    check_place(path, args.force)
    return RecordRequest(
        chosen_host(args),
        path,
        args.force,
        packets,
        threshold_ns,
        max_rate,
        duration_s,
    )


class _Recorder(Headless):
    """One run: frames into the file, a line about them on standard error."""

    def __init__(self, request: RecordRequest) -> None:
        super().__init__(request.host, request.duration_s)
        self._request = request
        self._made: Optional[NewFile] = None
        self._taps: tuple[str, ...] = ()
        #: Since when there are figures, and the latest.
        self._begin_s: Optional[float] = None
        self._end_s = 0.0
        self._stats: Optional[StatsFrame] = None
        self._live = sys.stderr.isatty()

    def connect(self) -> Tee:
        """What comes is written down."""
        assert self._made is not None
        self._tee = Tee(super().connect())
        self._tee.record(self._request.path, self._made.file)
        return self._tee

    def run(self) -> None:
        request = self._request
        with new_file(request.path) as self._made, self:
            try:
                self._begin()
                self._made.take_place(request.force)
                self.complete()
            finally:
                self._end_line()
                self._tee.stop()
                if self._begin_s is not None:
                    self._say(self._summary())

    def _begin(self) -> None:
        request = self._request
        self.start(Configure(discover=True, measure=False, connect=request.packets.uri))
        requested = request.packets.requested(
            threshold_ns=request.threshold_ns, max_rate=request.max_rate
        )
        if request.packets.vms:
            requested = replace(requested, vm_interfaces=self.taps(request.packets.vms))
        self._progress("attaching the probes")
        self.measure(requested)

    def take(self, frame: Frame) -> None:
        """Learn what there is to say about it; it is written down."""
        if isinstance(frame, MeasuringFrame):
            self._begin_s = self._end_s = time.monotonic()
        elif isinstance(frame, LinksFrame):
            self._taps = tuple(one.name for one in frame.vm_interfaces)
        elif isinstance(frame, StatsFrame):
            self._stats, self._end_s = frame, time.monotonic()
            if not ENDING.asked and not frame.final:
                self._progress(self._figures())

    def notice(self, text: str) -> None:
        """Say it without the progress."""
        self._say(clean(text))

    # ---- what is said -----------------------------------------------------------------------

    def _figures(self) -> str:
        packets = self._stats.ended(Bin.COMPLETED) if self._stats else 0
        seconds = self._end_s - (self._begin_s or 0.0)
        return f"{seconds:.0f} s of {self._what}, {packets} packets{self._size}"

    @property
    def _size(self) -> str:
        try:
            return f", {self._request.path.stat().st_size / 1024:.0f} KiB"
        except OSError:
            return ""  # somebody moved it

    @property
    def _what(self) -> str:
        return ", ".join(map(clean, self._taps)) or "no vNIC"

    def _summary(self) -> str:
        on = f" on {clean(self.hello.host)}" if self.hello and self.hello.host else ""
        return f"recorded {self._figures()}{on}; `vmlat replay {self._request.path}` shows it"

    def _progress(self, words: str) -> None:
        if self._live:
            print(f"\rvmlat: {words}; Ctrl-C ends it\x1b[K", end="", file=sys.stderr, flush=True)

    def _end_line(self) -> None:
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _say(self, words: str) -> None:
        self._end_line()
        say(words)


def run(args: argparse.Namespace) -> int:
    """Record until told to stop; the file is complete then."""
    _Recorder(parse(args)).run()
    return 0
