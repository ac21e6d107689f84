"""``vmlat`` without a command: the screens, or a plain snapshot where there is no terminal."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from vmlat_tui.analysis.comparison import Comparison
from vmlat_tui.commands import replay
from vmlat_tui.commands.options.host import chosen_host, host_options
from vmlat_tui.commands.show import appearance, show
from vmlat_tui.commands.targets import has_running_vms, in_lab, on
from vmlat_tui.errors import UsageError
from vmlat_tui.export import formats
from vmlat_tui.export.comparison import Compared
from vmlat_tui.importers.directory import Ends
from vmlat_tui.lab.releases import DEFAULT_KERNEL
from vmlat_tui.lab.scenarios import DEFAULT_SCENARIO
from vmlat_tui.ping.measurement import load
from vmlat_tui.transport.source import Nothing


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options that stand before any command."""
    screens = parser.add_argument_group("the screens (without a command)")
    screens.add_argument("--replay", metavar="FILE", help="show a recorded session, not this host")
    replay.pace(screens)
    screens.add_argument(
        "--compare", metavar=("A", "B"), nargs=2, help="show the pings of two environments"
    )
    host_options(screens)
    screens.add_argument("--connect", metavar="URI", help="libvirt's connection URI")
    screens.add_argument(
        "--lab", action="store_true", help="look at the built-in hypervisor, booted for it"
    )
    screens.add_argument(
        "--or-lab", action="store_true", help="the same, unless this host has running VMs"
    )
    screens.add_argument("--kernel", metavar="VERSION", default=DEFAULT_KERNEL, help="of the lab")
    screens.add_argument("--scenario", metavar="NAME", default=DEFAULT_SCENARIO, help="of the lab")
    appearance(screens)


def run(args: argparse.Namespace) -> int:
    """Open the screens and return when the user leaves."""
    places = {
        "--replay": args.replay is not None,
        "--compare": args.compare is not None,
        "--host": args.host is not None,
        "--lab": args.lab or args.or_lab,
    }
    named = [option for option, given in places.items() if given]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} show different places", "", "leave one out")
    if args.compare is not None:
        return _compare(args)
    if args.connect is not None and not args.connect:
        raise UsageError("--connect is empty", "", "give an URI such as qemu:///system")
    host = chosen_host(args)
    if args.replay is not None:
        return show(args, replay.recording(Path(args.replay), args))
    with contextlib.ExitStack() as place:
        if args.lab or (args.or_lab and not has_running_vms(args.connect)):
            connect = place.enter_context(in_lab(args.kernel, args.scenario))
        else:
            connect = place.enter_context(on(host, args.connect))
        return show(args, connect)


def _compare(args: argparse.Namespace) -> int:
    """Files are read before the screens open: what is wrong with them is said in one line."""
    a, b = (load([path], Ends()) for path in args.compare)
    comparison = Comparison(a.found, b.found)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        formats.exporter(formats.TEXT)(sys.stdout).write(Compared(comparison, a, b))
        return 0
    from vmlat_tui.tui.screens.pings import PingsScreen

    return show(args, Nothing, first=lambda: PingsScreen(comparison), live=False)
