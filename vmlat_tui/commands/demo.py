"""``vmlat demo``: a recording that comes with vmlat, at once."""

from __future__ import annotations

import argparse

from vmlat_tui.commands.replay import pace, recording
from vmlat_tui.commands.show import appearance, show
from vmlat_tui.recording.shipped import SHIPPED, shipped


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``vmlat demo``."""
    parser.description = (
        "Show a session that was recorded in the built-in hypervisor: an emulated machine, where "
        "everything takes a hundred times as long as on hardware."
    )
    first = next(iter(SHIPPED))
    parser.add_argument(
        "name", metavar="NAME", nargs="?", default=first, help=f"which one; default: {first}"
    )
    parser.add_argument("--list", action="store_true", help="say which there are")
    pace(parser)
    appearance(parser)


def run(args: argparse.Namespace) -> int:
    """Return when the user leaves."""
    if args.list:
        width = max(map(len, SHIPPED))
        print(*(f"{name:{width}}  {summary}" for name, summary in SHIPPED.items()), sep="\n")
        return 0
    with shipped(args.name) as path:
        return show(args, recording(path, args, SHIPPED[args.name]))
