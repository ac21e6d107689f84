"""Argument parsing and wiring: the only module that sees every layer.

Each command lives in its own package and is imported only when it is the one asked for,
so that ``vmlat lab`` needs no BCC and ``vmlat trace`` needs no lab.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, Optional

from vmlat_tui import __version__
from vmlat_tui.errors import VmlatError

#: command -> (module that implements it, one line of help).  Each module offers
#: ``configure(parser)``, which adds the arguments, and ``run(args) -> int``, the exit status.
COMMANDS = {
    "trace": ("vmlat_tui.commands.trace", "packets and statistics of a VM's traffic"),
    "irq": ("vmlat_tui.commands.irq", "from the tap to the guest's interrupt, stage by stage"),
    "kick": ("vmlat_tui.commands.kick", "from the guest's kick to the tap, stage by stage"),
    "icmp": (
        "vmlat_tui.commands.icmp",
        "a ping, inside and outside this host, and where it is lost",
    ),
    "ping": (
        "vmlat_tui.commands.ping",
        "a ping between VMs on two hosts, seen by all ends at once",
    ),
    "guest": ("vmlat_tui.commands.guest", "a ping inside a guest, its stack and the rest"),
    "topology": ("vmlat_tui.export.topology_text", "what was discovered on this host"),
    "doctor": ("vmlat_tui.commands.doctor", "what this host can measure, and what is missing"),
    "record": ("vmlat_tui.commands.record", "a session of this host into a file"),
    "replay": ("vmlat_tui.commands.replay", "a recorded session on the screens"),
    "demo": ("vmlat_tui.commands.demo", "a session that comes with vmlat, recorded in the lab"),
    "analyze": ("vmlat_tui.commands.analyze", "a ping between two VMs, segment by segment"),
    "compare": ("vmlat_tui.tables.comparison", "where one environment's ping takes longer"),
    "lab": ("vmlat_tui.commands.lab", "the built-in hypervisor"),
    "agent": (
        "vmlat_tui.commands.agent",
        "frames on stdout, commands on stdin (used by the others)",
    ),
}


#: They stay the user that they are, and take signals in their own way.
_APART = ("agent", "lab")
#: What runs without a command.
SCREENS = "vmlat_tui.commands.screens"


class _Parser(argparse.ArgumentParser):
    """One line per usage error, like every other error of vmlat."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def _needs_root(args: argparse.Namespace) -> bool:
    """What is not made of an agent and a user who looks at it."""
    in_lab = getattr(args, "lab", False) or getattr(args, "or_lab", False)
    return in_lab or args.command in _APART


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command; return its exit status (0 done, 1 measurement failed, 2 usage)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _Parser(
        prog="vmlat", description="Where a VM's packets spend their time on this hypervisor."
    )
    parser.add_argument("--version", action="version", version=f"vmlat {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    # A command comes first: `vmlat --replay trace` shows a file of that name.
    chosen = arguments[0] if arguments and arguments[0] in COMMANDS else None
    module = None
    if chosen is None:
        module = importlib.import_module(SCREENS)
        module.configure(parser)
    for name, (where, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, allow_abbrev=False)
        if name == chosen:
            module = importlib.import_module(where)
            module.configure(command)
    args = parser.parse_args(arguments)
    if args.command != chosen:
        parser.error(f"{args.command} goes before its options")
    assert module is not None
    from vmlat_tui.ending import ENDING

    ENDING.forget()
    with ENDING.watching() if chosen not in _APART else contextlib.nullcontext():
        return _run(module, args)


def _run(module: Any, args: argparse.Namespace) -> int:
    from vmlat_tui.ending import ENDING

    try:
        from vmlat_tui.transport import starter

        user = None if _needs_root(args) else starter.invoker()
        status = starter.give_up_root(user) if user else None
        return int(module.run(args)) if status is None else status
    except VmlatError as error:
        from vmlat_tui.words import clean

        # Its words may be another host's.
        print(f"vmlat: {clean(str(error))}", file=sys.stderr)
        return ENDING.status or error.exit_status
    except KeyboardInterrupt:
        return ENDING.status or 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
