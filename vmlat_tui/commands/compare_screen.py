"""``vmlat --compare A B``: two environments on the screen; as text where there is no terminal."""

from __future__ import annotations

import argparse
import sys

from vmlat_tui.analysis.comparison import Comparison
from vmlat_tui.commands.show import show
from vmlat_tui.importers.directory import Ends
from vmlat_tui.ping.measurement import load
from vmlat_tui.tables.comparison import document
from vmlat_tui.transport.source import Nothing


def compare(args: argparse.Namespace) -> int:
    """Files are read before the screens open: what is wrong with them is said in one line."""
    a, b = (load([path], Ends()) for path in args.compare)
    comparison = Comparison(a.found, b.found)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        for line in document(comparison, a, b, False):
            print(line)
        return 0
    from vmlat_tui.tui.screens.pings import PingsScreen

    return show(args, Nothing, first=lambda: PingsScreen(comparison), live=False)
