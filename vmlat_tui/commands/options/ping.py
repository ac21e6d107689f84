"""The command line of ``vmlat ping``."""

from __future__ import annotations

import argparse
from pathlib import Path

from vmlat_tui.commands.options import selection
from vmlat_tui.commands.options.output import check_place, output_options
from vmlat_tui.errors import UsageError
from vmlat_tui.model.filters import address
from vmlat_tui.ping.request import End, PingRequest, check_ends
from vmlat_tui.transport import hosts

ENDS = ("sender", "receiver")
#: What an ICMP packet can carry beside its own and IPv4's header.
_MOST_BYTES = 65507


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    for word, verb in zip(ENDS, ("pings", "is pinged")):
        group = parser.add_argument_group(f"the {word}: the VM that {verb}")
        group.add_argument(
            f"--{word}", required=True, metavar="[USER@]HOST/VM",
            help=f"its host, over ssh, or {hosts.LOCAL}, and its name there",
        )  # fmt: skip
        group.add_argument(
            f"--{word}-guest",
            metavar="[USER@]HOST",
            help="the VM itself, over ssh; without, the guest's segments are shown as one"
            + (", and a ping that is running already is joined" if word == "sender" else ""),
        )
        group.add_argument(
            f"--{word}-ip", metavar="ADDRESS",
            help="its address; default: what its host knows of it",
        )  # fmt: skip
        group.add_argument(
            f"--{word}-phy-interface",
            metavar="NIC[,NIC]",
            help="the uplink of its host; default: the other ports of the VM's switch",
        )
    parser.add_argument(
        "--sudo", action="store_true",
        help="become root on all of them with sudo, without password",
    )  # fmt: skip
    pings = parser.add_argument_group("the ping")
    pings.add_argument("--count", metavar="N", help="stop after this many pings")
    pings.add_argument("--interval", metavar="S", help="seconds between two (default 1)")
    pings.add_argument("--size", metavar="BYTES", help="of its data (default 56)")
    pings.add_argument("--duration", metavar="S", help="stop after this many seconds")
    pings.add_argument(
        "--timeout", metavar="MS", default="1000",
        help="a ping is given up after so many milliseconds (default 1000)",
    )  # fmt: skip
    what = parser.add_argument_group("what to print")
    output_options(what)
    what.add_argument("--output", "-w", metavar="FILE", help="write the capture to a file, too")
    what.add_argument("--force", action="store_true", help="replace FILE if there is one")


def _end(args: argparse.Namespace, word: str) -> End:
    place = getattr(args, word)
    host, _, vm = place.rpartition("/")
    if not host or not vm or host.endswith("/"):
        raise UsageError(
            f"--{word} {place!r} names no VM on a host", "", "give [user@]host/vm, or localhost/vm"
        )
    guest = getattr(args, f"{word}_guest")
    ip = getattr(args, f"{word}_ip")
    uplinks = getattr(args, f"{word}_phy_interface")
    return End(
        word,
        hosts.named(host, args.sudo, f"--{word}"),
        vm,
        hosts.named(guest, args.sudo, f"--{word}-guest") if guest is not None else None,
        address(ip, f"--{word}-ip") if ip is not None else None,
        selection.names(f"--{word}-phy-interface", uplinks),
    )


def parse(args: argparse.Namespace) -> PingRequest:
    """Check the options against each other; raises :class:`UsageError`."""
    sender, receiver = (_end(args, word) for word in ENDS)
    check_ends(sender, receiver)
    for option in ("interval", "size"):
        if getattr(args, option) is not None and sender.guest is None:
            raise UsageError(
                f"--{option} is of a ping that vmlat starts",
                "without --sender-guest it joins one that is running already",
                "leave it out, or give --sender-guest",
            )
    count = selection.number("--count", args.count, 1, 1_000_000_000, whole=True)
    interval = selection.number("--interval", args.interval, 0.001, 3600, whole=False)
    size = selection.number("--size", args.size, 0, _MOST_BYTES, whole=True)
    timeout = selection.number("--timeout", args.timeout, 1, 600_000, whole=True)
    output = Path(args.output) if args.output is not None else None
    if output is not None:
        check_place(output, args.force)
    return PingRequest(
        sender,
        receiver,
        args.sender_guest,
        int(count) if count else None,
        1.0 if interval is None else interval,
        56 if size is None else int(size),
        selection.number("--duration", args.duration, 0.1, 31_536_000, whole=False),
        int(timeout or 0) * 1_000_000,
        output,
        args.force,
    )
