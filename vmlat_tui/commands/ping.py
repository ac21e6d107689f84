"""``vmlat ping``: one ping between VMs on two hosts, seen by up to four observers at once."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from pathlib import Path
from typing import Optional

from vmlat_tui.analysis import trust
from vmlat_tui.analysis.decomposition import Decomposition
from vmlat_tui.commands.options import ping as options
from vmlat_tui.commands.options.output import chosen_output
from vmlat_tui.export import analysis, formats, ping_text
from vmlat_tui.export.analysis import Shown
from vmlat_tui.export.exporter import Exporter, Part, Report, Values, Words
from vmlat_tui.model import captures
from vmlat_tui.model.segments import QUANTITIES
from vmlat_tui.ping.correlation import CorrelatedPing
from vmlat_tui.ping.request import PingRequest
from vmlat_tui.ping.run import Audience, PingRun
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.safe_files import NewFile, new_file
from vmlat_tui.words import say

#: Lines a second on a terminal.
_LINES = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``vmlat ping``."""
    parser.description = (
        "Ping from one VM to another on another host, and split every round trip into segments, "
        "live, then as tables. Agents on both hosts, and in the guests where they can be reached, "
        "travel over ssh; only intervals of one clock are used, so clocks need not agree. An "
        "observer that fails is named, and the others go on. With --json the output is a capture, "
        "which `vmlat analyze` reads. The exit status is 0 if all observers "
        "were there to the end and pings were joined at all points, 1 if not, 2 if it could not "
        "be made as asked."
    )
    options.configure(parser)


class _Capture:
    """The file of the capture; it ends early where it cannot be written."""

    def __init__(self, path: Path, made: NewFile) -> None:
        self._path = path
        self._made = made
        self._output: Optional[Exporter] = None

    def begin(self, force: bool) -> None:
        """From now on it is there."""
        self._made.take_place(force)
        stream = io.TextIOWrapper(self._made.file, "ascii", write_through=True)
        self._output = formats.exporter(formats.JSON)(stream)

    def write(self, part: Part) -> None:
        """Only what programs need."""
        if self._output is None:
            return
        try:
            self._output.write(part)
        except OSError as error:
            say(f"{self._path} ends early: {error.strerror}")
            self._output = None


class _Printer(Audience):
    """Writes the capture, and a line for each ping; on a terminal only some lines a second."""

    def __init__(self, request: PingRequest, output: Exporter, capture: Optional[_Capture]) -> None:
        self._request = request
        self._output = output
        self._capture = capture
        self._live = sys.stdout.isatty()
        self._since_s = 0.0
        self._begun = False
        self._shown = self._left_out = 0

    def begin(self) -> None:
        """What comes before the first ping, once: of what cannot be made there is no output."""
        if self._begun:
            return
        self._begun = True
        if self._capture is not None:
            self._capture.begin(self._request.force)
        self.print(Values(captures.head(self._request.name)))
        self.print(Words(ping_text.HEADING))

    def print(self, part: Part) -> None:
        """On standard output, and into the capture what is for that."""
        self.begin()
        self._output.write(part)
        if self._capture is not None:
            self._capture.write(part)

    def write(self, line: Raw) -> None:
        """One of the capture."""
        self.print(Values(line))

    def show(self, ping: CorrelatedPing) -> None:
        """For people, unless there are too many."""
        self.begin()
        now = time.monotonic()
        if now - self._since_s >= 1:
            self._since_s, self._shown = now, 0
        if self._live and self._shown >= _LINES:
            self._left_out += 1
            return
        self._shown += 1
        self.leave_out()
        self.print(Words(ping_text.ping_line(ping, self._request.observers)))

    def leave_out(self) -> None:
        """Say how many lines were not printed."""
        if self._left_out:
            self.print(Words(f"({self._left_out} pings not shown one by one)"))
            self._left_out = 0


def _watch(request: PingRequest, printer: _Printer) -> int:
    running = PingRun(request, printer)
    running.run()
    found = Decomposition(request.name, running.collection)
    observers = running.observers
    there = {QUANTITIES[quantity].observer for quantity in found.available}
    everybody = found.complete and there.issuperset(request.observers)
    joined = len(found.rows) if everybody else 0
    said = [
        f"joined at all points: {joined} of {running.correlator.over} pings",
        *ping_text.holes(observers),
        *ping_text.given_up(running.correlator.given_up),
        *trust.remarks(found),
        trust.ONE_CLOCK,
    ]
    printer.leave_out()
    report = analysis.document(found, ping_text.observers(observers), said, Shown())
    summary = ping_text.summary_json(observers, joined, running.correlator.over)
    printer.print(Report(report, [summary]))
    return 0 if joined and all(observer.error is None for observer in observers) else 1


def run(args: argparse.Namespace) -> int:
    """Measure until told to stop; Ctrl-C ends it with the tables."""
    request = options.parse(args)
    with contextlib.ExitStack() as ends:
        capture = None
        if request.output is not None:
            capture = _Capture(request.output, ends.enter_context(new_file(request.output)))
        return _watch(request, _Printer(request, chosen_output(args), capture))
