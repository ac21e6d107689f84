"""``vmlat doctor``: what this host can measure, and what is missing; ``--live`` measures."""

from __future__ import annotations

import argparse

from vmlat_tui.commands import live
from vmlat_tui.commands.options.host import chosen_host, host_options
from vmlat_tui.commands.options.output import chosen_output, output_options
from vmlat_tui.errors import VmlatError
from vmlat_tui.export.doctor_text import text
from vmlat_tui.export.exporter import Record
from vmlat_tui.protocol.commands import Describe
from vmlat_tui.protocol.frames import to_json
from vmlat_tui.protocol.session import HostFrame
from vmlat_tui.transport.process import AgentProcess

_LIMIT_S = 180.0


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
    with AgentProcess(chosen_host(args)) as agent:
        agent.send(Describe())
        frame = agent.next(_LIMIT_S)
    if not isinstance(frame, HostFrame):
        raise VmlatError("the agent did not describe its host")
    chosen_output(args).write(Record(lambda: to_json(frame), lambda: text(frame)))
    return 0 if frame.measurable else 1
