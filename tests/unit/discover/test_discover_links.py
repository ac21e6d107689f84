"""Roles of interfaces, on a made-up /sys/class/net."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmlat_tui.discover.links import interfaces as discovery
from vmlat_tui.discover.links.interfaces import Link, Selection
from vmlat_tui.errors import UsageError

MANY = {
    name: Link(name, number, True, False, False, True, "br0", ())
    for number, name in enumerate((f"vnet{n}" for n in range(999)), 1)
}
TAP, NAPI_TAP, TUN = "0x1002", "0x1012", "0x1001"


class Sysfs:
    """A directory that looks like /sys/class/net."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._next = 1

    def add(self, name: str, *, flags: str = "", master: str = "", hardware: bool = False) -> Path:
        entry = self.directory / name
        entry.mkdir()
        (entry / "ifindex").write_text(f"{self._next}\n")
        self._next += 1
        if flags:
            (entry / "tun_flags").write_text(f"{flags}\n")
        if hardware:
            (entry / "device").mkdir()
        if master:
            self.enslave(name, master)
        return entry

    def bridge(self, name: str) -> None:
        (self.add(name) / "bridge").mkdir()

    def above(self, upper: str, *lowers: str) -> None:
        """Links that the kernel makes between stacked devices."""
        for lower in lowers:
            (self.directory / upper / f"lower_{lower}").symlink_to(self.directory / lower)
            (self.directory / lower / f"upper_{upper}").symlink_to(self.directory / upper)

    def enslave(self, name: str, master: str) -> None:
        (self.directory / name / "master").symlink_to(self.directory / master)
        self.above(master, name)

    def select(self, vnets: list[str], uplinks: list[str]) -> Selection:
        return discovery.select_links(self.links(), vnets, uplinks)

    def links(self) -> dict[str, Link]:
        return discovery.read_links(self.directory)


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    return Sysfs(tmp_path)


@pytest.fixture
def plain(sysfs: Sysfs) -> Sysfs:
    """Two taps and a NIC on a Linux bridge."""
    sysfs.add("lo")
    sysfs.bridge("br0")
    sysfs.add("vnet0", flags=TAP, master="br0")
    sysfs.add("vnet1", flags=NAPI_TAP, master="br0")
    sysfs.add("eth0", hardware=True, master="br0")
    return sysfs


def test_interfaces_are_read_as_they_are(plain: Sysfs) -> None:
    found = plain.links()
    assert found["vnet0"].tap and not found["vnet0"].napi_tun
    assert found["vnet1"].napi_tun
    assert found["eth0"].master == "br0" and not found["eth0"].virtual
    assert found["br0"].bridge and found["br0"].virtual
    assert found["br0"].lowers == ("eth0", "vnet0", "vnet1")
    assert found["lo"].master is None
    assert len({link.ifindex for link in found.values()}) == 5


def test_a_tun_is_no_tap_and_a_file_is_no_interface(sysfs: Sysfs) -> None:
    sysfs.add("tun0", flags=TUN)
    (sysfs.directory / "bonding_masters").write_text("bond0\n")
    assert set(sysfs.links()) == {"tun0"}
    assert not sysfs.links()["tun0"].tap


def test_an_interface_that_vanishes_while_it_is_read_is_none(sysfs: Sysfs) -> None:
    assert discovery.read_link(sysfs.directory / "gone") is None


def test_on_a_bridge_uplink_and_vnic_are_switched_and_the_rest_is_elsewhere(plain: Sysfs) -> None:
    chosen = plain.select(["vnet0"], ["eth0"])
    assert (chosen.vnets, chosen.leaves, chosen.tops) == (("vnet0",), ("eth0",), ())
    assert chosen.switched
    # The bridge itself is the host; it lies above the uplink and is not part of the path.
    assert set(chosen.elsewhere) == {"br0", "vnet1", "lo"}


def test_two_vnics_keep_the_order_in_which_they_were_asked_for(plain: Sysfs) -> None:
    chosen = plain.select(["vnet1", "vnet0"], ["eth0"])
    assert chosen.vnets == ("vnet1", "vnet0")
    assert set(chosen.elsewhere) == {"br0", "lo"}


def test_of_a_bond_the_members_carry_the_packets(sysfs: Sysfs) -> None:
    sysfs.bridge("br0")
    sysfs.add("bond0")
    for name in ("eth0", "eth1"):
        sysfs.add(name, hardware=True, master="bond0")
    sysfs.enslave("bond0", "br0")
    sysfs.add("vnet0", flags=TAP, master="br0")
    chosen = sysfs.select(["vnet0"], ["bond0"])
    assert (chosen.leaves, chosen.tops) == (("eth0", "eth1"), ("bond0",))
    assert chosen.switched
    assert set(chosen.elsewhere) == {"br0"}


def test_of_a_vlan_device_on_a_bond_too(sysfs: Sysfs) -> None:
    sysfs.bridge("br0")
    sysfs.add("bond0")
    for name in ("eth0", "eth1"):
        sysfs.add(name, hardware=True, master="bond0")
    sysfs.add("bond0.5")
    sysfs.above("bond0.5", "bond0")
    sysfs.enslave("bond0.5", "br0")
    sysfs.add("vnet0", flags=TAP, master="br0")
    chosen = sysfs.select(["vnet0"], ["bond0.5"])
    assert (chosen.leaves, chosen.tops) == (("eth0", "eth1"), ("bond0.5",))
    assert chosen.switched
    assert "bond0" not in chosen.elsewhere, "it lies on the path"


def test_two_uplinks_over_one_member_name_it_once(sysfs: Sysfs) -> None:
    sysfs.add("eth0", hardware=True)
    for name in ("eth0.1", "eth0.2"):
        sysfs.add(name)
        sysfs.above(name, "eth0")
    sysfs.add("vnet0", flags=TAP)
    chosen = sysfs.select(["vnet0"], ["eth0.1", "eth0.2"])
    assert (chosen.leaves, chosen.tops) == (("eth0",), ("eth0.1", "eth0.2"))
    assert not chosen.switched


def test_open_vswitch_is_a_switch_whose_internal_port_is_elsewhere(sysfs: Sysfs) -> None:
    """Its ports have the master `ovs-system`, which is no bridge; `br0` is a port like any."""
    sysfs.add("ovs-system")
    sysfs.add("br0")
    sysfs.add("vnet0", flags=TAP, master="ovs-system")
    sysfs.add("vnet1", flags=TAP, master="ovs-system")
    sysfs.add("phy0", hardware=True, master="ovs-system")
    assert discovery.default_vnets(sysfs.links()) == ("vnet0", "vnet1")
    assert discovery.default_uplinks(sysfs.links(), ["vnet0"]) == ("phy0",)
    chosen = sysfs.select(["vnet0"], ["phy0"])
    assert chosen.switched
    assert {"br0", "vnet1"} <= set(chosen.elsewhere)
    assert not {"vnet0", "phy0"} & set(chosen.elsewhere)


def test_routed_vms_are_not_switched_and_only_other_taps_are_elsewhere(sysfs: Sysfs) -> None:
    sysfs.add("eth0", hardware=True)
    sysfs.add("dummy0")
    for name in ("vnet0", "vnet1"):
        sysfs.add(name, flags=TAP)
    chosen = sysfs.select(["vnet0"], ["eth0"])
    assert not chosen.switched
    assert chosen.elsewhere == ("vnet1",)


def test_a_vnic_that_does_not_exist_now_keeps_its_slot(plain: Sysfs) -> None:
    chosen = plain.select(["vnet7", "vnet0"], ["eth0", "eth9"])
    assert chosen.vnets == ("vnet7", "vnet0")
    assert chosen.leaves == ("eth0",)
    assert chosen.switched


def test_defaults_are_the_taps_of_switches_and_the_other_ports(plain: Sysfs) -> None:
    plain.add("vnet9", flags=TAP)
    assert discovery.default_vnets(plain.links()) == ("vnet0", "vnet1")
    assert discovery.default_uplinks(plain.links(), ("vnet0",)) == ("eth0",)
    assert discovery.default_uplinks(plain.links(), ("absent",)) == ()


def test_without_a_switch_every_tap_is_a_default(sysfs: Sysfs) -> None:
    sysfs.add("vnet0", flags=TAP)
    assert discovery.default_vnets(sysfs.links()) == ("vnet0",)
    assert discovery.default_uplinks(sysfs.links(), ("vnet0",)) == ()


@pytest.mark.parametrize(
    ("vnets", "uplinks", "words"),
    [
        (["eth0"], ["eth0"], "eth0 is not a tap interface"),
        (["br0"], ["eth0"], "choose one of: vnet0, vnet1"),
        (["vnet0"], ["vnet0"], "cannot be both"),
        (["vnet0"], ["vnet1"], "is a tap interface, not an uplink"),
    ],
)
def test_impossible_choices_are_refused_with_their_reason(
    plain: Sysfs, vnets: list[str], uplinks: list[str], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        plain.select(vnets, uplinks)
    assert caught.value.exit_status == 2


def test_an_unknown_interface_is_named_with_its_option_and_the_choices(plain: Sysfs) -> None:
    discovery.require(plain.links(), ["eth0"], "--phy-interface")
    with pytest.raises(UsageError) as caught:
        discovery.require(plain.links(), ["eth0", "eth7"], "--phy-interface")
    text = str(caught.value)
    assert "--phy-interface 'eth7'" in text and "vnet0" in text


def test_devices_above_each_other_in_a_circle_do_not_hang(sysfs: Sysfs) -> None:
    for name in ("a", "b"):
        sysfs.add(name)
    sysfs.above("a", "b")
    sysfs.above("b", "a")
    sysfs.add("vnet0", flags=TAP)
    assert sysfs.select(["vnet0"], ["a"]).leaves


def test_the_monitor_is_quiet_when_nothing_happens() -> None:
    monitor = discovery.LinkMonitor()
    try:
        monitor.changed()
        assert monitor.fileno() >= 0
    finally:
        monitor.close()


def test_messages_name_ten_of_a_thousand_interfaces() -> None:
    host = {**MANY, "eno1": Link("eno1", 5000, False, False, False, False, None, ())}
    with pytest.raises(UsageError) as unknown:
        discovery.require(host, ("vnet1x",), "--vm-interface")
    with pytest.raises(UsageError) as no_tap:
        discovery.require_taps(host, ("eno1",))
    for refused, rest in ((unknown, 990), (no_tap, 989)):
        text = str(refused.value)
        assert text.endswith(f"vnet8, vnet9 and {rest} more") and len(text) < 300
