"""Interfaces of this namespace: netlink by pyroute2, the rest from sysfs.

Keeps to what pyroute2 0.5.14 (Debian 11), 0.7 and 0.9 have in common.  For a thread that runs no
event loop: the newest of them brings its own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

from vmlat_tui.discover.links import ethtool
from vmlat_tui.discover.links.details import Details, details
from vmlat_tui.discover.links.hardware import read_device
from vmlat_tui.discover.links.interfaces import Link, read_links
from vmlat_tui.model.topology import Interface, Qdisc

_UP = 0x1
_LOOPBACK = 772
_NETNS = Path("/run/netns")
#: States of a neighbour that say nothing: INCOMPLETE, FAILED, and those that need no ARP.
_NO_NEIGHBOUR = 0x01 | 0x20 | 0x40


@dataclass(frozen=True)
class Network:
    """The interfaces, and what the neighbour table knows of guests: hardware address -> IPs."""

    interfaces: tuple[Interface, ...]
    neighbours: Mapping[str, tuple[str, ...]]
    #: Of interfaces that are left out.
    notes: tuple[str, ...] = ()


def read_network(sysfs: Path = Path("/sys"), proc: Path = Path("/proc")) -> Network:
    """All interfaces of this network namespace; pyroute2's own errors pass."""
    from pyroute2 import IPRoute  # slow to import, and only discovery needs it

    with IPRoute() as ip:
        links = list(ip.get_links())
        reader = _Reader(ip, links, sysfs, proc)
        neighbours = _neighbours(
            m for f in (socket.AF_INET, socket.AF_INET6) for m in ip.get_neighbours(family=f)
        )
    return _gathered(links, reader.interface, neighbours)


def _gathered(
    links: Iterable[Any],
    interface: Callable[[Any], Interface],
    neighbours: Mapping[str, tuple[str, ...]],
) -> Network:
    found, notes = [], []
    for link in links:
        try:
            found.append(interface(link))
        except Exception as error:  # one interface's oddity is no other's
            name = _attr(link, "IFLA_IFNAME")
            notes.append(f"{name}: the interface cannot be read ({type(error).__name__}: {error})")
    return Network(tuple(found), neighbours, tuple(notes))


class _Reader:
    """What is read once for all interfaces."""

    def __init__(self, ip: Any, links: list[Any], sysfs: Path, proc: Path) -> None:
        self._names = {link["index"]: str(_attr(link, "IFLA_IFNAME")) for link in links}
        far = any(_attr(link, "IFLA_LINK_NETNSID") is not None for link in links)
        self._spaces = _namespaces(ip) if far else {}
        self._routes = {remote: _route(ip, remote) for remote in _remotes(links)}
        self._qdiscs = _qdiscs(ip.get_qdiscs())
        self._settings = ethtool.read_settings()
        self._from_sysfs = read_links(sysfs / "class/net")
        self._places = (sysfs, proc)

    def interface(self, link: Any) -> Interface:
        """Everything about one."""
        name = self._names[link["index"]]
        info = _attr(link, "IFLA_LINKINFO")
        device, other = read_device(name, *self._places), self._from_sysfs.get(name)
        kind = _attr(info, "IFLA_INFO_KIND") or (
            "loopback" if link["ifi_type"] == _LOOPBACK else "device" if device.present else "other"
        )
        up, carrier = bool(link["flags"] & _UP), _attr(link, "IFLA_CARRIER")
        far = _attr(link, "IFLA_LINK_NETNSID")
        return Interface(
            name=name,
            ifindex=link["index"],
            kind=kind,
            mac=_attr(link, "IFLA_ADDRESS"),
            mtu=_attr(link, "IFLA_MTU"),
            up=up,
            carrier=bool(carrier) if up and carrier is not None else None,
            master=self._names.get(_attr(link, "IFLA_MASTER") or 0),
            lowers=other.lowers if other else (),
            driver=device.driver,
            node=device.node,
            speed_mbps=device.speed_mbps,
            queue_length=_attr(link, "IFLA_TXQLEN"),
            peer_namespace=None if far is None else self._spaces.get(far, f"nsid {far}"),
            details=self._details(kind, link, _attr(info, "IFLA_INFO_DATA"), other),
            statistics=dict(_attr(link, "IFLA_STATS64") or {}),
            coalescing=self._settings.coalescing.get(name, {}),
            offloads=self._settings.offloads.get(name, {}),
            qdiscs=tuple(self._qdiscs.get(link["index"], ())),
            irqs=device.irqs,
        )

    def _details(self, kind: str, link: Any, data: Any, other: Optional[Link]) -> Details:
        found = details(kind, link, data, self._names)
        egress = self._names.get(self._routes.get(str(found.get("remote")), 0))
        if egress and "link" not in found:
            found["egress"] = egress
        if kind == "tun" and other:
            found["type"] = "tap" if other.tap else "tun"
        return found


def _attr(message: Any, name: str) -> Any:
    return message.get_attr(name) if message is not None else None


def _handle(number: int) -> str:
    """A queueing discipline or class as tc writes it."""
    if number == 0xFFFFFFFF:
        return "root"
    major, minor = number >> 16, number & 0xFFFF
    return f"{major:x}:" if not minor else f":{minor:x}" if not major else f"{major:x}:{minor:x}"


def _qdiscs(messages: Iterable[Any]) -> dict[int, list[Qdisc]]:
    found: dict[int, list[Qdisc]] = {}
    for message in messages:
        counts = _attr(_attr(message, "TCA_STATS2"), "TCA_STATS_QUEUE") or {}
        found.setdefault(message["index"], []).append(
            Qdisc(
                kind=str(_attr(message, "TCA_KIND")),
                handle=_handle(message["handle"]),
                parent=_handle(message["parent"]),
                drops=counts.get("drops", 0),
                requeues=counts.get("requeues", 0),
                backlog_bytes=counts.get("backlog", 0),
                backlog_packets=counts.get("qlen", 0),
            )
        )
    return found


def _neighbours(messages: Iterable[Any]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for message in messages:
        mac, ip = _attr(message, "NDA_LLADDR"), _attr(message, "NDA_DST")
        if message["state"] & _NO_NEIGHBOUR or not mac or not ip:
            continue
        if ip not in found.setdefault(mac.lower(), []):
            found[mac.lower()].append(ip)
    return {mac: tuple(sorted(ips)) for mac, ips in found.items()}


def _namespaces(ip: Any, directory: Path = _NETNS) -> dict[int, str]:
    """This namespace's number of every namespace that has a name."""
    found = {}
    for name in sorted(os.listdir(directory)) if directory.is_dir() else ():
        try:
            descriptor = os.open(directory / name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            number = _nsid(ip, descriptor)
        finally:
            os.close(descriptor)
        if number is not None:
            found[number] = name
    return found


def _nsid(ip: Any, descriptor: int) -> Optional[int]:
    if hasattr(ip, "get_netnsid"):  # since 0.6
        number = (ip.get_netnsid(fd=descriptor) or {}).get("nsid")
    else:
        from pyroute2.netlink import NLM_F_REQUEST
        from pyroute2.netlink.rtnl import RTM_GETNSID
        from pyroute2.netlink.rtnl.nsidmsg import nsidmsg

        message = nsidmsg()
        message["attrs"].append(("NETNSA_FD", descriptor))
        answers = ip.nlm_request(message, RTM_GETNSID, NLM_F_REQUEST)
        number = next((a.get_attr("NETNSA_NSID") for a in answers), None)
    return number if number is not None and number < 1 << 31 else None


def _remotes(links: Iterable[Any]) -> set[str]:
    """Far ends of tunnels that are not tied to an interface."""
    found = set()
    for link in links:
        data = _attr(_attr(link, "IFLA_LINKINFO"), "IFLA_INFO_DATA")
        if data is not None and hasattr(data, "get_attr"):
            remote = data.get_attr("IFLA_VXLAN_GROUP") or data.get_attr("IFLA_VXLAN_GROUP6")
            if remote and not data.get_attr("IFLA_VXLAN_LINK"):
                found.add(str(remote))
    return found


def _route(ip: Any, remote: str) -> int:
    """The interface that packets to an address leave by, 0 if there is no route."""
    try:
        return next((r.get_attr("RTA_OIF") or 0 for r in ip.route("get", dst=remote)), 0)
    except Exception:  # pyroute2 has its own errors, in another module in each version
        return 0
