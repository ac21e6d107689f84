"""Interfaces of this host from sysfs, and what each is to a measurement.

A netlink socket only tells *that* something changed; sysfs is then read anew, which takes about a
millisecond per hundred interfaces.  Safe from any thread.
"""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from vmlat_tui.discover.files import number, read
from vmlat_tui.errors import UsageError, listed

SYSFS = Path("/sys/class/net")

#: Bits of /sys/class/net/X/tun_flags (linux/if_tun.h).
_IFF_TAP, _IFF_NAPI = 0x0002, 0x0010
_RTMGRP_LINK = 1


@dataclass(frozen=True)
class Link:
    """One interface of this network namespace."""

    name: str
    ifindex: int
    tap: bool
    #: tun delivers through NAPI, not in the sender's task.
    napi_tun: bool
    bridge: bool
    #: No hardware behind it.
    virtual: bool
    master: Optional[str]
    lowers: tuple[str, ...]


def read_link(directory: Path) -> Optional[Link]:
    """One interface; None if it vanished meanwhile or is not an interface."""
    index = number(directory / "ifindex")
    if index is None:
        return None
    words = read(directory / "tun_flags")
    flags = int(words, 16) if re.fullmatch("(0x)?[0-9a-f]{1,8}", words) else 0
    master = directory / "master"
    try:
        lowers = tuple(sorted(p.name[len("lower_") :] for p in directory.glob("lower_*")))
        master_name = master.resolve().name if master.is_symlink() else None
    except OSError:
        return None
    bridge = (directory / "bridge").is_dir()
    return Link(
        directory.name,
        index,
        bool(flags & _IFF_TAP),
        bool(flags & _IFF_NAPI),
        bridge,
        not (directory / "device").exists(),
        master_name,
        lowers,
    )


def read_links(directory: Path = SYSFS) -> dict[str, Link]:
    """All interfaces by name."""
    links = {}
    for entry in sorted(directory.iterdir()):
        link = read_link(entry)
        if link:
            links[link.name] = link
    return links


class LinkMonitor:
    """Tells when an interface appears, vanishes or changes.  One thread."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, _RTMGRP_LINK))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """For ``select``."""
        return self._socket.fileno()

    def changed(self) -> bool:
        """Whether anything happened since the last call; never blocks."""
        happened = False
        while select.select([self._socket], [], [], 0)[0]:
            happened = True
            try:
                if not self._socket.recv(65536):
                    break
            except OSError:  # an overrun also means that something changed
                break
        return happened

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()


@dataclass(frozen=True)
class Selection:
    """The interfaces of one measurement, by role.

    ``vnets`` are in the caller's order.  ``leaves`` carry the packets to the wire; ``tops`` are
    what the switch sees of them (a bond, a VLAN device) where that is another interface.
    ``switched``: a vNIC and an uplink are ports of one switch, so frames for the host itself are
    not the VMs'.  ``elsewhere``: a packet seen there has left the selected path.
    """

    vnets: tuple[str, ...]
    leaves: tuple[str, ...]
    tops: tuple[str, ...]
    switched: bool
    elsewhere: tuple[str, ...]


def _leaves(links: dict[str, Link], name: str, seen: set[str]) -> list[str]:
    if name in seen or name not in links:
        return []
    seen.add(name)
    below = [leaf for lower in links[name].lowers for leaf in _leaves(links, lower, seen)]
    return below or [name]


def default_vnets(links: dict[str, Link]) -> tuple[str, ...]:
    """Every tap that is a port of a switch; every tap if none is."""
    taps = [link for link in links.values() if link.tap]
    return tuple(link.name for link in taps if link.master) or tuple(link.name for link in taps)


def default_uplinks(links: dict[str, Link], vnets: Sequence[str]) -> tuple[str, ...]:
    """Every other port of the vNICs' switches that is not a tap."""
    masters = {links[name].master for name in vnets if name in links} - {None}
    return tuple(
        link.name
        for link in links.values()
        if link.master in masters and not link.tap and not link.bridge
    )


def select_links(links: dict[str, Link], vnets: Sequence[str], uplinks: Sequence[str]) -> Selection:
    """Roles of the named interfaces; names that do not exist now keep their place in ``vnets``.

    Raises :class:`UsageError` for a vNIC that exists and is not a tap, an uplink that is a tap, or
    an interface named as both.
    """
    require_taps(links, vnets)
    leaves: list[str] = []
    tops: list[str] = []
    for name in uplinks:
        link = links.get(name)
        if name in vnets:
            raise UsageError(f"{name} cannot be both the VM's interface and the uplink")
        if link and link.tap:
            raise UsageError(f"{name} is a tap interface, not an uplink")
        found = _leaves(links, name, set())
        leaves += [leaf for leaf in found if leaf not in leaves]
        if link and found != [name]:
            tops.append(name)
    masters = {links[name].master for name in vnets if name in links} - {None}
    switched = any(links[name].master in masters for name in uplinks if name in links)
    path = {*vnets, *leaves, *tops}
    for name in leaves:
        path.update(n for n, link in links.items() if name in link.lowers and not link.bridge)
    elsewhere = [
        link.name
        for link in links.values()
        if link.name not in path
        and (link.tap or (switched and (link.bridge or (link.virtual and not link.master))))
    ]
    return Selection(tuple(vnets), tuple(leaves), tuple(tops), switched, tuple(elsewhere))


def require(links: dict[str, Link], names: Sequence[str], option: str) -> None:
    """Raise :class:`UsageError` if an interface does not exist."""
    for name in names:
        if name not in links:
            raise UsageError(
                f"{option} {name!r}: no such interface",
                "",
                f"interfaces here: {listed(links) or 'none'}",
            )


def require_taps(links: dict[str, Link], names: Sequence[str]) -> None:
    """Raise :class:`UsageError` if an interface exists and is not a tap."""
    for name in names:
        link = links.get(name)
        if link and not link.tap:
            raise UsageError(
                f"{name} is not a tap interface",
                "a VM's packets enter the host at a tap",
                f"choose one of: {listed(default_vnets(links)) or '(this host has none)'}",
            )
