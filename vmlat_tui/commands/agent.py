"""``vmlat agent``: the far side of every measurement."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments: everything is said by commands on standard input."""
    parser.description = "Frames on standard output, commands on standard input (one JSON a line)."


def run(args: argparse.Namespace) -> int:
    """Serve one measurement."""
    from vmlat_tui.agent.agent import main

    return main()
