"""The command line of ``vmlat ping``."""

from __future__ import annotations

import argparse
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from vmlat_tui.commands.options import selection
from vmlat_tui.commands.options.output import check_place
from vmlat_tui.errors import UsageError
from vmlat_tui.model.filters import address
from vmlat_tui.model.flows import Address
from vmlat_tui.model.segments import Observer
from vmlat_tui.transport import hosts
from vmlat_tui.transport.hosts import Host

ENDS = ("sender", "receiver")
#: What an ICMP packet can carry beside its own and IPv4's header.
_MOST_BYTES = 65507


@dataclass(frozen=True)
class End:
    """A VM, and where it runs.  ``guest`` is how to get into it; None: not at all."""

    word: str
    host: Host
    vm: str
    guest: Optional[Host]
    ip: Optional[Address]
    uplinks: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """A checked command line."""

    sender: End
    receiver: End
    #: Where to start the ping; None: one runs already.
    pinging: Optional[str]
    count: Optional[int]
    interval_s: float
    size: int
    duration_s: Optional[float]
    timeout_ns: int
    json: bool
    output: Optional[Path]
    force: bool

    @property
    def name(self) -> str:
        """Of the measurement."""
        return f"{self.sender.vm} -> {self.receiver.vm}"

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Who is asked, in the order in which a request passes them."""
        asked = {Observer.SENDER_HOST, Observer.RECEIVER_HOST}
        asked |= {Observer.SENDER_GUEST} if self.sender.guest else set()
        asked |= {Observer.RECEIVER_GUEST} if self.receiver.guest else set()
        return tuple(observer for observer in Observer if observer in asked)

    def ping_argv(self, target: Address) -> Optional[tuple[str, ...]]:
        """What makes the sender's guest ping."""
        if self.pinging is None:
            return None
        command = ["ping", "-n", "-i", f"{self.interval_s:g}", "-s", str(self.size)]
        command += ["-c", str(self.count)] if self.count else []
        return hosts.command_at(self.pinging, [*command, str(target)], "--sender-guest")


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
    what.add_argument(
        "--format", choices=("text", "json"), default="text",
        help="json is a capture, which `vmlat analyze` reads",
    )  # fmt: skip
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


def parse(args: argparse.Namespace) -> Request:
    """Check the options against each other; raises :class:`UsageError`."""
    sender, receiver = (_end(args, word) for word in ENDS)
    _check_ends(sender, receiver)
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
    return Request(
        sender,
        receiver,
        args.sender_guest,
        int(count) if count else None,
        1.0 if interval is None else interval,
        56 if size is None else int(size),
        selection.number("--duration", args.duration, 0.1, 31_536_000, whole=False),
        int(timeout or 0) * 1_000_000,
        args.format == "json",
        output,
        args.force,
    )


def _check_ends(sender: End, receiver: End) -> None:
    if sender.host.name == receiver.host.name and sender.vm == receiver.vm:
        raise UsageError(
            "--sender and --receiver are the same VM", "a ping needs two", "name another VM"
        )
    for end in (sender, receiver):
        if end.ip and (end.ip.is_multicast or end.ip.is_unspecified or end.ip.is_loopback):
            raise UsageError(
                f"--{end.word}-ip {end.ip} is no address of one VM", "", "give that of its vNIC"
            )
    if sender.ip and receiver.ip:
        _check_pair(sender.ip, receiver.ip)


def _check_pair(sender: Address, receiver: Address) -> None:
    if sender == receiver:
        raise UsageError(
            "--sender-ip and --receiver-ip are the same address", str(sender), "correct one of them"
        )
    if sender.version != receiver.version:
        raise UsageError("--sender-ip and --receiver-ip are not of one IP version")


# ---- addresses -----------------------------------------------------------------------------------


def addresses(
    sender: tuple[End, frozenset[str]], receiver: tuple[End, frozenset[str]]
) -> tuple[Address, Address]:
    """Of who pings and who is pinged: as given, else the only one of a version that is known.

    Each end comes with the addresses that its host knows of it.  Raises :class:`UsageError`, which
    names the option that would tell.
    """
    ends = (sender, receiver)
    choices = [(end, (end.ip,) if end.ip else _usable(known)) for end, known in ends]
    for version in (4, 6):
        pair = [[ip for ip in found if ip.version == version] for _, found in choices]
        if all(len(found) == 1 for found in pair):
            _check_pair(pair[0][0], pair[1][0])
            return pair[0][0], pair[1][0]
    # Both are known if both were given.
    asked = [(end, found) for end, found in choices if end.ip is None]
    end, found = next((one for one in asked if len(one[1]) != 1), asked[0])
    what = ", ".join(map(str, found)) or "its host knows none"
    raise UsageError(
        f"the address of {end.vm} is not certain", what, f"name it with --{end.word}-ip"
    )


def _usable(texts: frozenset[str]) -> tuple[Address, ...]:
    """They are another host's words."""
    found = []
    for text in sorted(texts):
        try:
            found.append(ipaddress.ip_address(text))
        except ValueError:
            continue
    return tuple(ip for ip in found if not ip.is_link_local)
