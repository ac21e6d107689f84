"""Interfaces: this host's own against sysfs, and the parts on made-up messages."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.support.trees import plant
from tests.unit.discover import test_discover_topology as test_topology
from vmlat_tui.discover.links import ethtool, hardware, netlink
from vmlat_tui.discover.links.details import details
from vmlat_tui.model.topology import Interface, Irq, Qdisc


class Message(dict[str, Any]):
    """A netlink message of pyroute2: fields, and attributes by name."""

    def __init__(self, attributes: dict[str, Any], **fields: Any) -> None:
        super().__init__(fields)
        self._attributes = attributes

    def get_attr(self, name: str) -> Any:
        return self._attributes.get(name)


def test_this_hosts_interfaces_are_what_sysfs_says() -> None:
    network = netlink.read_network()
    top = Path("/sys/class/net")
    assert {i.name for i in network.interfaces} == {p.parent.name for p in top.glob("*/ifindex")}
    for interface in network.interfaces:
        directory = top / interface.name
        assert interface.ifindex == int((directory / "ifindex").read_text())
        assert interface.mtu == int((directory / "mtu").read_text())
        assert interface.mac == (directory / "address").read_text().strip()
        assert interface.queue_length == int((directory / "tx_queue_len").read_text())
        assert interface.up == bool(int((directory / "flags").read_text(), 16) & 1)
        assert interface.master == (
            (directory / "master").resolve().name if (directory / "master").exists() else None
        )
        assert (interface.kind == "device") == (directory / "device").exists()
        assert interface.statistics["rx_packets"] <= int(
            (directory / "statistics/rx_packets").read_text()
        )
    loopback = next(i for i in network.interfaces if i.name == "lo")
    assert loopback.kind == "loopback" and loopback.driver is None and not loopback.irqs


DETAILS = [
    ("vlan", {"IFLA_VLAN_ID": 100, "IFLA_VLAN_PROTOCOL": 0x8100}, {"IFLA_LINK": 2},
     {"link": "eth0", "id": 100, "protocol": "802.1Q"}),
    ("vlan", {"IFLA_VLAN_ID": 5, "IFLA_VLAN_PROTOCOL": 0xA888}, {"IFLA_LINK": 2},
     {"link": "eth0", "id": 5, "protocol": "802.1ad"}),
    ("vxlan", {"IFLA_VXLAN_ID": 7, "IFLA_VXLAN_GROUP": "10.0.0.2", "IFLA_VXLAN_LINK": 2,
               "IFLA_VXLAN_LOCAL": "10.0.0.1", "IFLA_VXLAN_PORT": 4789}, {},
     {"id": 7, "link": "eth0", "remote": "10.0.0.2", "local": "10.0.0.1", "port": 4789}),
    ("bond", {"IFLA_BOND_MODE": 1, "IFLA_BOND_ACTIVE_SLAVE": 2, "IFLA_BOND_MIIMON": 100}, {},
     {"mode": "active-backup", "miimon": 100, "active_member": "eth0"}),
    ("bond", {"IFLA_BOND_MODE": 4, "IFLA_BOND_XMIT_HASH_POLICY": 1}, {},
     {"mode": "802.3ad", "hash_policy": "layer3+4", "miimon": 0}),
    ("bridge", {"IFLA_BR_STP_STATE": 1, "IFLA_BR_VLAN_FILTERING": 0}, {},
     {"stp": True, "vlan_filtering": False}),
    ("veth", None, {"IFLA_LINK": 2}, {"peer": "eth0"}),
    ("veth", None, {"IFLA_LINK": 2, "IFLA_LINK_NETNSID": 0}, {}),
    ("macvtap", {"IFLA_MACVLAN_MODE": 4}, {"IFLA_LINK": 2}, {"link": "eth0", "mode": "bridge"}),
    ("macvlan", {"IFLA_MACVLAN_MODE": "vepa"}, {"IFLA_LINK": 2}, {"link": "eth0", "mode": "vepa"}),
    ("unheard-of", {"X": 1}, {}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "data", "link", "found"), DETAILS)
def test_details_have_the_words_of_ip(
    kind: str, data: Optional[dict[str, Any]], link: dict[str, Any], found: dict[str, Any]
) -> None:
    message = Message(link, index=9)
    inner = None if data is None else Message(data)
    assert details(kind, message, inner, {2: "eth0"}) == found


def test_qdiscs_are_by_interface_with_their_counters() -> None:
    counters = {"drops": 3, "requeues": 4, "backlog": 1500, "qlen": 1}
    stats = Message({"TCA_STATS_QUEUE": counters})
    root = Message({"TCA_KIND": "mq", "TCA_STATS2": stats}, index=2, handle=0, parent=0xFFFFFFFF)
    leaf = Message({"TCA_KIND": "fq"}, index=2, handle=0x80010000, parent=0x10002)
    first = Message({"TCA_KIND": "x"}, index=3, handle=0, parent=0x1)
    assert netlink._qdiscs([root, leaf, first]) == {
        2: [Qdisc("mq", "0:", "root", 3, 4, 1500, 1), Qdisc("fq", "8001:", "1:2", 0, 0, 0, 0)],
        3: [Qdisc("x", "0:", ":1", 0, 0, 0, 0)],
    }


def test_neighbours_that_answered_are_by_address() -> None:
    def entry(mac: Optional[str], ip: str, state: int) -> Message:
        return Message({"NDA_LLADDR": mac, "NDA_DST": ip}, state=state)

    rows = [
        entry("52:54:00:77:00:0A", "10.0.0.2", 0x02),
        entry("52:54:00:77:00:0a", "10.0.0.1", 0x04),
        entry("52:54:00:77:00:0a", "10.0.0.1", 0x80),
        entry("33:33:00:00:00:01", "ff02::1", 0x40),
        entry("52:54:00:77:00:0b", "10.0.0.9", 0x20),
        entry(None, "10.0.0.8", 0x01),
    ]
    assert netlink._neighbours(rows) == {"52:54:00:77:00:0a": ("10.0.0.1", "10.0.0.2")}


def test_an_interface_that_cannot_be_read_is_named_and_the_others_are_there() -> None:
    one = test_topology.TAP

    def interface(link: Message) -> Interface:
        if link["index"] == 2:
            raise KeyError("flags")
        return one

    links = [Message({"IFLA_IFNAME": f"eth{n}"}, index=n) for n in (1, 2, 3)]
    found = netlink._gathered(links, interface, {})
    assert found.interfaces == (one, one)
    assert found.notes == ("eth2: the interface cannot be read (KeyError: 'flags')",)


# ---- ethtool ------------------------------------------------------------------------------------


def test_this_kernels_offloads_have_names() -> None:
    offloads = ethtool.read_settings().offloads
    if offloads:  # the kernel has ethtool netlink
        assert offloads["lo"]["rx-gro"] in (True, False)
        assert offloads["lo"]["tx-scatter-gather"] is True
        assert "tls-hw-record" not in offloads["lo"], "loopback could not even if it wanted"


def test_a_bit_set_is_its_words_in_order() -> None:
    words = ethtool.attribute(4, struct.pack("=II", 0x80000001, 0x2))
    assert ethtool.bitset(ethtool.attribute(2, b"\0" * 4) + words) == 0x2_80000001
    assert ethtool.bitset(b"") == 0


def test_a_word_too_few_of_a_bit_set_is_left_out() -> None:
    assert ethtool.bitset(ethtool.attribute(4, b"\1\0\0\0\2\0")) == 1


def test_attributes_are_read_back_and_garbage_ends_them() -> None:
    data = ethtool.attribute(1, b"abc") + ethtool.attribute(0x8002, b"")
    assert list(ethtool.attributes(data)) == [(1, b"abc"), (2, b"")]
    assert list(ethtool.attributes(b"\0\0\1\0xxxx")) == []
    assert list(ethtool.attributes(b"\1")) == []
    assert list(ethtool.attributes(b"\x09\0\1\0xxxx")) == [], "longer than what there is"


def test_no_bytes_are_too_odd() -> None:
    chance = random.Random(7)
    for _ in range(3000):
        data = bytes(chance.choice((0, 1, 2, 4, 8, 12, chance.randrange(256)))
                     for _ in range(chance.randrange(120)))  # fmt: skip
        assert len(list(ethtool.attributes(data))) <= len(data) // 4
        assert ethtool.bitset(data) >= 0 and max(ethtool.feature_names(data), default=0) < 1024


def test_names_of_offloads_come_by_their_bit() -> None:
    def string(bit: int, name: bytes) -> bytes:
        inner = ethtool.attribute(1, struct.pack("=I", bit)) + ethtool.attribute(2, name + b"\0")
        return ethtool.attribute(1, inner)

    names = ethtool.attribute(3, string(14, b"rx-gro") + string(0, b"tx-x") + string(9, b""))
    assert ethtool.feature_names(ethtool.attribute(1, names)) == {14: "rx-gro", 0: "tx-x"}


# ---- hardware -----------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """One NIC with message interrupts, one virtio NIC, one with a line, one without hardware."""
    pci = tmp_path / "devices/pci"
    plant(pci, {"ixgbe/numa_node": 1, "ixgbe/msi_irqs/30": "msi", "ixgbe/msi_irqs/9": "msi",
                "vpci/numa_node": -1, "vpci/msi_irqs/31": "msi", "vpci/virtio3/x": "",
                "e1000/irq": 11, "e1000/numa_node": 0})  # fmt: skip
    (pci / "ixgbe/driver").symlink_to("../../bus/pci/drivers/ixgbe")
    net = tmp_path / "class/net"
    for name, target in (("eth0", "ixgbe"), ("eth1", "vpci/virtio3"), ("eth2", "e1000")):
        plant(net / name, {"speed": 25000 if name == "eth0" else -1})
        (net / name / "device").symlink_to(pci / target)
    plant(tmp_path, {"class/net/veth0/speed": 10000, "kernel/irq/30/actions": "eth0-TxRx-0",
                     "kernel/irq/9/actions": "", "kernel/irq/31/actions": "virtio3-input.0",
                     "kernel/irq/11/actions": "phy0,phy 1"})  # fmt: skip
    proc = plant(tmp_path / "proc", {"irq/30/smp_affinity_list": "0-1",
                                     "irq/30/effective_affinity_list": "1"})  # fmt: skip
    return tmp_path, proc


def test_hardware_is_found_behind_an_interface(places: tuple[Path, Path]) -> None:
    nic = hardware.read_device("eth0", *places)
    assert (nic.driver, nic.node, nic.speed_mbps) == ("ixgbe", 1, 25000)
    assert nic.irqs == (Irq(30, "eth0-TxRx-0", (0, 1), (1,)),), "the other has no handler"
    virtio = hardware.read_device("eth1", *places)
    assert [i.number for i in virtio.irqs] == [31] and virtio.node is None
    assert virtio.speed_mbps is None
    assert [i.name for i in hardware.read_device("eth2", *places).irqs] == ["phy0, phy 1"]
    assert hardware.read_device("veth0", *places) == hardware.Device(False, None, None, 10000, ())
    assert not hardware.read_device("gone", *places).present
