"""The options that choose the host on which an agent measures."""

from __future__ import annotations

import argparse
import os

from vmlat_tui.errors import UsageError
from vmlat_tui.transport import hosts
from vmlat_tui.transport.hosts import Host


def host_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that choose the host: the same for every command."""
    parser.add_argument(
        "--host", metavar="[USER@]HOST", help="another host, over ssh, instead of this one"
    )
    parser.add_argument(
        "--sudo",
        action="store_true",
        help="measure as root by sudo, on this host or on that one (there, without a password)",
    )


def chosen_host(args: argparse.Namespace) -> Host:
    """The host that the options ask for."""
    if args.host is not None:
        return hosts.reached_by_ssh(args.host, args.sudo)
    if args.sudo and os.geteuid() == 0:
        raise UsageError("--sudo is for who is not root", "", "leave it out, or give --host")
    return hosts.raised_here() if args.sudo else hosts.here()
