"""``vmlat doctor``: what this host can measure, and what is missing; ``--live`` measures."""

from __future__ import annotations

import argparse
from typing import Optional

from vmlat_tui.commands import live
from vmlat_tui.commands.options.host import chosen_host, host_options
from vmlat_tui.commands.options.output import chosen_output, output_options
from vmlat_tui.export.doctor_text import text
from vmlat_tui.export.exporter import Record
from vmlat_tui.protocol.commands import Describe
from vmlat_tui.protocol.frames import Frame, to_json
from vmlat_tui.protocol.session import HostFrame
from vmlat_tui.session import limits
from vmlat_tui.session.headless import Headless

_SILENT = "the agent did not describe its host"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``vmlat doctor``."""
    parser.description = (
        "Show what this host can measure: kernel, BTF, kprobes, ring buffer, BCC, privileges, and "
        "the hook of every point. With the privileges to measure, the probes are really attached "
        "for a moment. "
        "Exit status 0 if the main path can be measured. With --live it measures, and says what "
        "explains the time."
    )
    output_options(parser)
    host_options(parser)
    live.configure(parser)


def run(args: argparse.Namespace) -> int:
    """Print the report; 0 if the main path can be measured, else 1."""
    if args.live:
        return live.run(args)
    live.refuse(args)
    host = _Describing(chosen_host(args)).run()
    chosen_output(args).write(Record(lambda: to_json(host), lambda: text(host)))
    return 0 if host.measurable else 1


class _Describing(Headless):
    """Asks for what can be measured, and for nothing else."""

    found: Optional[HostFrame] = None

    def run(self) -> HostFrame:
        with self:
            self.send(Describe())
            self.until(lambda: self.found is not None, limits.START_S, _SILENT)
        assert self.found is not None
        return self.found

    def take(self, frame: Frame) -> None:
        if isinstance(frame, HostFrame):
            self.found = frame
