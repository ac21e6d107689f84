"""``vmlat analyze``: a ping between two guests, segment by segment, from what was written down."""

from __future__ import annotations

import argparse

from vmlat_tui.commands.options.files import add_options, ends_of, microseconds_of
from vmlat_tui.commands.options.output import chosen_output
from vmlat_tui.errors import UsageError
from vmlat_tui.export.analysis import Analysis, Shown
from vmlat_tui.ping.measurement import load
from vmlat_tui.words import clean


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``vmlat analyze``."""
    parser.description = (
        "Split the round trip of a ping between two VMs on two hosts into segments, from logs of "
        "kernel_icmp_rtt, icmp_drop_detector, tun_tx_to_kvm_irq and the like, captures and "
        "recordings of vmlat, or a file of published averages. Times are in microseconds."
    )
    parser.add_argument("paths", metavar="DIR|FILE", nargs="+", help="all of one measurement")
    parser.add_argument(
        "--packets", metavar="N", default="10", help="single packets to show (default 10)"
    )
    parser.add_argument(
        "--slow", metavar="US", help="packets that took so long are slow (default: a tenth)"
    )
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the analysis."""
    slow_ns = microseconds_of(args.slow, "--slow")
    if not args.packets.isdecimal() or len(args.packets) > 7:
        raise UsageError(f"--packets {clean(args.packets)}", "it is a number of packets")
    measurement = load(args.paths, ends_of(args))
    chosen_output(args).write(Analysis(measurement, Shown(int(args.packets), slow_ns)))
    return 0
