"""Argument parsing and wiring.

Each command is a module of its own and is imported only when it is the one asked for, so that
``vmlat lab`` needs no BCC and ``vmlat trace`` needs no lab.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import platform
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn, Optional

from vmlat_tui import __version__
from vmlat_tui.errors import VmlatError

_log = logging.getLogger(__name__)

#: command -> one line of help.  The module of that name in vmlat_tui.commands offers
#: ``configure(parser)``, which adds the arguments, and ``run(args) -> int``, the exit status.
COMMANDS = {
    "trace": "packets and statistics of a VM's traffic",
    "irq": "from the tap to the guest's interrupt, stage by stage",
    "kick": "from the guest's kick to the tap, stage by stage",
    "icmp": "a ping, inside and outside this host, and where it is lost",
    "ping": "a ping between VMs on two hosts, seen by all ends at once",
    "guest": "a ping inside a guest, its stack and the rest",
    "topology": "what was discovered on this host",
    "doctor": "what this host can measure, and what is missing",
    "record": "a session of this host into a file",
    "replay": "a recorded session on the screens",
    "demo": "a session that comes with vmlat, recorded in the lab",
    "analyze": "a ping between two VMs, segment by segment",
    "compare": "where one environment's ping takes longer",
    "lab": "the built-in hypervisor",
    "agent": "frames on stdout, commands on stdin (used by the others)",
}


#: They stay the user that they are, and take signals in their own way.
_APART = ("agent", "lab")
#: What runs without a command.
SCREENS = "screens"


class _Parser(argparse.ArgumentParser):
    """One line per usage error, like every other error of vmlat."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"vmlat_tui.commands.{command}")


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
    from vmlat_tui.commands.options.diagnostics import log_options

    parser.add_argument("--version", action="version", version=f"vmlat {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    # A command comes first: `vmlat --replay trace` shows a file of that name.
    chosen = arguments[0] if arguments and arguments[0] in COMMANDS else None
    module = None
    if chosen is None:
        module = _module(SCREENS)
        module.configure(parser)
        log_options(parser)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, allow_abbrev=False)
        if name == chosen:
            module = _module(name)
            module.configure(command)
            log_options(command)
    args = parser.parse_args(arguments)
    if args.command != chosen:
        parser.error(f"{args.command} goes before its options")
    assert module is not None
    from vmlat_tui.ending import ENDING

    ENDING.forget()
    with ENDING.watching() if chosen not in _APART else contextlib.nullcontext():
        return _run(module, args)


def _logged(module: Any, args: argparse.Namespace) -> int:
    from vmlat_tui.commands.options.diagnostics import logged

    with logged(args):
        _log.info(
            "vmlat %s, Python %s, Linux %s, process %d of user %d",
            *(__version__, platform.python_version(), platform.release()),
            *(os.getpid(), os.geteuid()),
        )
        _log.info("%s", args)
        try:
            status = int(module.run(args))
        except BaseException as error:
            _log.error("ended by %r", error)
            raise
        _log.info("exit status %d", status)
        return status


def _run(module: Any, args: argparse.Namespace) -> int:
    from vmlat_tui.ending import ENDING

    try:
        from vmlat_tui.transport import starter

        user = None if _needs_root(args) else starter.invoker()
        status = starter.give_up_root(user) if user else None
        return _logged(module, args) if status is None else status
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
