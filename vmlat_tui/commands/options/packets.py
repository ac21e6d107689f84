"""The command line of the commands that print packets or pings."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.commands.options import selection
from vmlat_tui.commands.options.host import chosen_host
from vmlat_tui.commands.options.output import chosen_output, output_options
from vmlat_tui.commands.options.selection import PacketSelection
from vmlat_tui.errors import UsageError
from vmlat_tui.export.exporter import Exporter
from vmlat_tui.model.flows import Protocol
from vmlat_tui.transport.hosts import Host


@dataclass(frozen=True)
class PrintRequest:
    """A checked command line."""

    host: Host
    packets: PacketSelection
    threshold_ns: int
    duration_s: Optional[float]
    count: Optional[int]
    max_rate: int
    output: Exporter
    stats_only: bool
    rung: str
    offsets: str
    timeout_ns: int


def configure(
    parser: argparse.ArgumentParser, threshold: str, direction: Optional[str], pings: bool
) -> None:
    """Add the options.

    ``threshold`` is what that option does; ``direction`` is the only one that the command knows.
    ``pings``: it shows pings, for which every packet is needed.
    """
    selection.configure(parser, direction, Protocol.ICMP if pings else None)
    things = "pings" if pings else "packets"
    what = parser.add_argument_group("what to print")
    what.add_argument("--latency-threshold", metavar="US", help=threshold)
    what.add_argument("--duration", metavar="S", help="stop after this many seconds")
    what.add_argument("--count", metavar="N", help=f"stop after this many {things}")
    output_options(what)
    what.add_argument("--stats", action="store_true", help="print only the statistics at the end")
    if pings:
        parser.set_defaults(max_rate="0")
        what.add_argument(
            "--timeout",
            metavar="MS",
            default="1000",
            help="a ping without a reply is lost after so many milliseconds (default 1000)",
        )
    else:
        parser.set_defaults(timeout=None)
        what.add_argument(
            "--max-rate",
            metavar="N",
            default="1000",
            help="print at most so many packets a second, 0: no limit (default 1000); "
            "those left out are counted",
        )
    special = parser.add_argument_group("for tests of vmlat itself")
    special.add_argument("--rung", choices=("full", "tracepoints"), default="full")
    special.add_argument("--offsets", choices=("btf", "headers"), default="btf")


def limits(args: argparse.Namespace) -> tuple[int, int, Optional[float]]:
    """``--latency-threshold`` in ns, ``--max-rate``, ``--duration`` in s.

    Raises :class:`UsageError`.
    """
    threshold = selection.number(
        "--latency-threshold", args.latency_threshold, 0, 60_000_000, whole=False
    )
    max_rate = selection.number("--max-rate", args.max_rate, 0, 1_000_000, whole=True)
    duration = selection.number("--duration", args.duration, 0.1, 31_536_000, whole=False)
    return int((threshold or 0) * 1000), int(max_rate or 0), duration


def parse(args: argparse.Namespace) -> PrintRequest:
    """Check the options against each other; raises :class:`UsageError`."""
    wanted = selection.parse(args)
    threshold_ns, max_rate, duration = limits(args)
    count = selection.number("--count", args.count, 1, 1e15, whole=True)
    timeout = selection.number("--timeout", args.timeout, 1, 600_000, whole=True)
    if args.stats and args.latency_threshold is not None:
        raise UsageError(
            "--stats prints no packets",
            "--latency-threshold chooses which to print",
            "leave one out",
        )
    return PrintRequest(
        chosen_host(args),
        wanted,
        threshold_ns,
        duration,
        int(count) if count else None,
        max_rate,
        chosen_output(args),
        args.stats,
        args.rung,
        args.offsets,
        int(timeout or 0) * 1_000_000,
    )
