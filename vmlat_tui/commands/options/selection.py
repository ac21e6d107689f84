"""Which packets of which interfaces: the options that all commands that measure share."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any, Optional

from vmlat_tui.commands.options.host import host_options
from vmlat_tui.errors import UsageError
from vmlat_tui.model.filters import address
from vmlat_tui.model.flows import Filter, Protocol
from vmlat_tui.model.requested import Requested


@dataclass(frozen=True)
class PacketSelection:
    """The checked options."""

    filters: tuple[Filter, ...]
    directions: tuple[str, ...]
    vm_interfaces: tuple[str, ...]
    uplinks: tuple[str, ...]
    #: Instead of interfaces: every tap of these VMs.
    vms: tuple[str, ...] = ()
    uri: Optional[str] = None

    def requested(self, **others: Any) -> Requested:
        """As an agent wants them; ``others`` are the fields that are not part of a selection."""
        return Requested(self.vm_interfaces, self.uplinks, self.filters, self.directions, **others)


def configure(
    parser: argparse.ArgumentParser,
    direction: Optional[str] = None,
    protocol: Optional[Protocol] = None,
) -> None:
    """Add the options.  ``direction``, ``protocol``: the only one that the command knows."""
    which = parser.add_argument_group("which packets")
    which.add_argument("--src-ip", metavar="ADDRESS", help="source address, IPv4 or IPv6")
    which.add_argument("--dst-ip", metavar="ADDRESS", help="destination address")
    if protocol:
        parser.set_defaults(protocol=protocol.value, src_port=None, dst_port=None)
    else:
        which.add_argument("--src-port", metavar="PORT", help="source port (tcp, udp)")
        which.add_argument("--dst-port", metavar="PORT", help="destination port (tcp, udp)")
        which.add_argument("--protocol", metavar="NAME", help="tcp, udp or icmp (echo)")
    if direction:
        parser.set_defaults(direction=direction)
    else:
        which.add_argument(
            "--direction",
            choices=("tx", "rx", "both"),
            default="both",
            help="tx leaves the VM, rx enters it; with both (the default) a filter also matches "
            "the answers, whose source and destination are exchanged",
        )
    where = parser.add_argument_group("where")
    host_options(where)
    where.add_argument(
        "--vm-interface", metavar="TAP[,TAP]", help="the VM's tap; default: every tap of a switch"
    )
    where.add_argument(
        "--phy-interface",
        metavar="NIC[,NIC]",
        help="the uplink; a bond or VLAN device stands for its members; "
        "default: the other ports of the VM's switch",
    )
    where.add_argument("--vm", metavar="NAME[,NAME]", help="every tap of these VMs")
    where.add_argument("--connect", metavar="URI", help="libvirt's connection URI")


def number(
    option: str, text: Optional[str], low: float, high: float, whole: bool
) -> Optional[float]:
    """The value of an option, if it was given; raises :class:`UsageError` outside its range."""
    if text is None:
        return None
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise UsageError(
            f"{option} {text!r} is wrong", f"it must be {kind} from {low:g} to {high:g}"
        )
    return value


def names(option: str, text: Optional[str]) -> tuple[str, ...]:
    """Names with commas between them; raises :class:`UsageError` if one is empty."""
    if text is None:
        return ()
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(found):
        raise UsageError(f"{option} {text!r} holds an empty name")
    return found


def parse(args: argparse.Namespace) -> PacketSelection:
    """Check the options against each other; raises :class:`UsageError`."""
    source, target = (
        None if text is None else address(text, option)
        for option, text in (("--src-ip", args.src_ip), ("--dst-ip", args.dst_ip))
    )
    ports = [
        number(option, text, 1, 65535, whole=True)
        for option, text in (("--src-port", args.src_port), ("--dst-port", args.dst_port))
    ]
    protocol: Optional[Protocol] = None
    if args.protocol is not None:
        try:
            protocol = Protocol(args.protocol.lower())
        except ValueError:
            raise UsageError(
                f"--protocol {args.protocol!r} is not measured", "", "choose tcp, udp or icmp"
            ) from None
    if protocol is Protocol.ICMP and any(ports):
        raise UsageError("ICMP echo has no ports", "--protocol icmp with a port", "leave one out")
    try:
        wanted = Filter(
            source,
            target,
            int(ports[0]) if ports[0] else None,
            int(ports[1]) if ports[1] else None,
            protocol,
            either=args.direction == "both",
        )
    except ValueError as error:
        raise UsageError("--src-ip and --dst-ip contradict each other", str(error)) from None
    vnets = names("--vm-interface", args.vm_interface)
    uplinks = names("--phy-interface", args.phy_interface)
    for name in set(vnets) & set(uplinks):
        raise UsageError(f"{name} cannot be both --vm-interface and --phy-interface")
    vms = names("--vm", args.vm)
    if vms and vnets:
        raise UsageError("--vm and --vm-interface say the same", "", "leave one out")
    if args.connect is not None and not args.connect:
        raise UsageError("--connect is empty", "", "give an URI such as qemu:///system")
    return PacketSelection(
        () if wanted.matches_all else (wanted,),
        ("tx", "rx") if args.direction == "both" else (args.direction,),
        vnets,
        uplinks,
        vms,
        args.connect,
    )
