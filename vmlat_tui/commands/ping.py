"""``vmlat ping``: one ping between VMs on two hosts, seen by up to four observers at once."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from typing import Optional

from vmlat_tui.analysis import trust
from vmlat_tui.analysis.decomposition import Decomposition
from vmlat_tui.commands.options import ping as options
from vmlat_tui.export import analysis, ping_text
from vmlat_tui.export.analysis import Shown
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
        "observer that fails is named, and the others go on. The exit status is 0 if all observers "
        "were there to the end and pings were joined at all points, 1 if not, 2 if it could not "
        "be made as asked."
    )
    options.configure(parser)


class _Printer(Audience):
    """Writes the capture, and a line for each ping; on a terminal only some lines a second."""

    def __init__(self, request: PingRequest, file: Optional[NewFile]) -> None:
        self._request = request
        self._file = file
        self._asked = request.observers
        self._live = sys.stdout.isatty()
        self._since_s = 0.0
        self._begun = False
        self._shown = self._left_out = 0

    def begin(self) -> None:
        """What comes before the first ping, once: of what cannot be made there is no output."""
        if self._begun:
            return
        self._begun = True
        if self._file is not None:
            self._file.take_place(self._request.force)
        self.write(captures.head(self._request.name))
        if not self._request.json:
            print(ping_text.HEADING, flush=True)

    def write(self, line: Raw) -> None:
        """Into the file and, if the capture is what is printed, on the standard output."""
        self.begin()
        text = json.dumps(line)
        if self._request.json:
            print(text, flush=True)
        if self._file is not None:
            try:
                self._file.file.write(text.encode("ascii") + b"\n")
                self._file.file.flush()
            except OSError as error:
                say(f"{self._request.output} ends early: {error.strerror}")
                self._file = None

    def show(self, ping: CorrelatedPing) -> None:
        """As text, unless there are too many."""
        self.begin()
        if self._request.json:
            return
        now = time.monotonic()
        if now - self._since_s >= 1:
            self._since_s, self._shown = now, 0
        if self._live and self._shown >= _LINES:
            self._left_out += 1
            return
        self._shown += 1
        self.leave_out()
        print(ping_text.ping_line(ping, self._asked), flush=True)

    def leave_out(self) -> None:
        """Say how many lines were not printed."""
        if self._left_out:
            print(f"({self._left_out} pings not shown one by one)")
            self._left_out = 0


def _watch(request: PingRequest, file: Optional[NewFile]) -> int:
    printer = _Printer(request, file)
    running = PingRun(request, printer)
    running.run()
    printer.begin()
    found = Decomposition(request.name, running.collection)
    observers = running.observers
    there = {QUANTITIES[quantity].observer for quantity in found.available}
    everybody = found.complete and there.issuperset(request.observers)
    joined = len(found.rows) if everybody else 0
    printer.write(ping_text.summary_json(observers, joined, running.correlator.over))
    if not request.json:
        printer.leave_out()
        print()
        said = [
            f"joined at all points: {joined} of {running.correlator.over} pings",
            *ping_text.holes(observers),
            *ping_text.given_up(running.correlator.given_up),
            *trust.remarks(found),
            trust.ONE_CLOCK,
        ]
        first = ping_text.observers(observers)
        for line in analysis.document(found, first, said, Shown(), markdown=False):
            print(line)
    return 0 if joined and all(observer.error is None for observer in observers) else 1


def run(args: argparse.Namespace) -> int:
    """Measure until told to stop; Ctrl-C ends it with the tables."""
    request = options.parse(args)
    with contextlib.ExitStack() as ends:
        file = None
        if request.output is not None:
            file = ends.enter_context(new_file(request.output))
        return _watch(request, file)
