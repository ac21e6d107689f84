"""What only one kind of interface has, from netlink: under the words of ``ip -d link``."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, Union

Details = dict[str, Union[str, int, bool]]

_BOND_MODES = ("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad",
               "balance-tlb", "balance-alb")  # fmt: skip
_HASHES = ("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac")
_PROTOCOLS = {0x8100: "802.1Q", 0x88A8: "802.1ad"}
_MACVLAN_MODES = {1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"}


def details(kind: str, link: Any, data: Any, names: Mapping[int, str]) -> Details:
    """The details of one link message; ``data`` is its ``IFLA_INFO_DATA``."""
    lower = link.get_attr("IFLA_LINK")
    here = link.get_attr("IFLA_LINK_NETNSID") is None
    found: Details = {}
    if lower and here and lower != link["index"] and lower in names:
        found["peer" if kind == "veth" else "link"] = names[lower]
    reader = _READERS.get(kind)
    if reader and data is not None and hasattr(data, "get_attr"):
        reader(found, data, names)
    return found


def _bridge(found: Details, data: Any, names: Mapping[int, str]) -> None:
    found["stp"] = bool(data.get_attr("IFLA_BR_STP_STATE"))
    found["vlan_filtering"] = bool(data.get_attr("IFLA_BR_VLAN_FILTERING"))


def _bond(found: Details, data: Any, names: Mapping[int, str]) -> None:
    _word(found, "mode", data.get_attr("IFLA_BOND_MODE"), _BOND_MODES)
    if found.get("mode") in ("balance-xor", "802.3ad", "balance-tlb"):
        _word(found, "hash_policy", data.get_attr("IFLA_BOND_XMIT_HASH_POLICY"), _HASHES)
    found["miimon"] = data.get_attr("IFLA_BOND_MIIMON") or 0
    active = names.get(data.get_attr("IFLA_BOND_ACTIVE_SLAVE") or 0)
    if active:
        found["active_member"] = active


def _word(found: Details, key: str, value: Any, words: tuple[str, ...]) -> None:
    if isinstance(value, int) and value < len(words):
        found[key] = words[value]


def _vlan(found: Details, data: Any, names: Mapping[int, str]) -> None:
    found["id"] = data.get_attr("IFLA_VLAN_ID") or 0
    protocol = data.get_attr("IFLA_VLAN_PROTOCOL")
    if isinstance(protocol, int):  # some versions of pyroute2 leave it in network order
        word = _PROTOCOLS.get(protocol) or _PROTOCOLS.get(socket.ntohs(protocol & 0xFFFF))
        found["protocol"] = word or f"0x{protocol:04x}"


def _vxlan(found: Details, data: Any, names: Mapping[int, str]) -> None:
    found["id"] = data.get_attr("IFLA_VXLAN_ID") or 0
    link = names.get(data.get_attr("IFLA_VXLAN_LINK") or 0)
    if link:
        found["link"] = link
    for key, attribute in (("remote", "GROUP"), ("remote", "GROUP6"),
                           ("local", "LOCAL"), ("local", "LOCAL6")):  # fmt: skip
        address = data.get_attr(f"IFLA_VXLAN_{attribute}")
        if address:
            found[key] = str(address)
    port = data.get_attr("IFLA_VXLAN_PORT")
    if isinstance(port, int):
        found["port"] = port


def _macvlan(found: Details, data: Any, names: Mapping[int, str]) -> None:
    mode = data.get_attr("IFLA_MACVLAN_MODE")
    mode = mode if isinstance(mode, str) else _MACVLAN_MODES.get(mode)
    if mode:
        found["mode"] = mode


_READERS = {
    "bridge": _bridge,
    "bond": _bond,
    "vlan": _vlan,
    "vxlan": _vxlan,
    "macvlan": _macvlan,
    "macvtap": _macvlan,
}
