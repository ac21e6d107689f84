"""``vmlat compare``: where one environment takes longer than another, and what to look at."""

from __future__ import annotations

import argparse

from vmlat_tui.analysis.comparison import Comparison
from vmlat_tui.analysis.figures import STATISTICS
from vmlat_tui.commands.options.files import add_options, ends_of
from vmlat_tui.commands.options.output import chosen_output
from vmlat_tui.export.comparison import Compared
from vmlat_tui.ping.measurement import load


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``vmlat compare``."""
    parser.description = (
        "Compare the ping of two environments segment by segment: difference, ratio, and share of "
        "the growth. A and B are directories or files as `vmlat analyze` takes them; A is the "
        "base. Times are in microseconds."
    )
    parser.add_argument("a", metavar="A", help="the base")
    parser.add_argument("b", metavar="B", help="what is compared with it")
    parser.add_argument(
        "--statistic",
        choices=STATISTICS,
        default="mean",
        help="what is compared (default mean; only means add up)",
    )
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the comparison."""
    a, b = (load([path], ends_of(args)) for path in (args.a, args.b))
    comparison = Comparison(a.found, b.found, args.statistic)
    chosen_output(args).write(Compared(comparison, a, b))
    return 0
