"""The way from a tap to the wire, over every kind of switch and device."""

from __future__ import annotations

from typing import Optional, Union

from vmlat_tui.discover.switches.ways import find_ways
from vmlat_tui.model.topology import (
    Interface,
    Ovs,
    OvsBridge,
    OvsInterface,
    OvsPort,
    Way,
)

NO_OVS = Ovs("absent", None, ())


def interface(
    name: str,
    kind: str = "device",
    master: Optional[str] = None,
    namespace: Optional[str] = None,
    lowers: tuple[str, ...] = (),
    **details: Union[str, int, bool],
) -> Interface:
    """An interface of which only this matters."""
    return Interface(name, abs(hash(name)) % 10_000, kind, None, 1500, True, True, master, lowers,
                     None, None, None, None, namespace, details, {}, {}, {}, (), ())  # fmt: skip


def tap(name: str, master: Optional[str] = None) -> Interface:
    return interface(name, "tun", master, type="tap")


def port(
    name: str,
    kind: str = "system",
    tag: Optional[int] = None,
    trunks: tuple[int, ...] = (),
    mode: Optional[str] = None,
    **options: str,
) -> OvsPort:
    """A port of one interface; ``peer`` makes a patch port of it."""
    peer = options.get("peer")
    one = OvsInterface(name, "patch" if peer else kind, 1, peer, options, {})
    return OvsPort(name, tag, trunks, mode, None, None, (one,))


def ovs(**bridges: list[OvsPort]) -> Ovs:
    names = {name: name.replace("_", "-") for name in bridges}
    return Ovs("running", "3", tuple(
        OvsBridge(names[n], "system", (port(names[n], "internal"), *ports))
        for n, ports in bridges.items()))  # fmt: skip


def way(
    interfaces: list[Interface], switch: Ovs = NO_OVS, name: str = "vnet0", **egress: str
) -> Way:
    (found,) = [w for w in find_ways(interfaces, switch, (), egress) if w.tap == name]
    return found


def devices(found: Way) -> list[str]:
    return [hop.device for hop in found.hops]


def test_over_a_linux_bridge_other_vms_are_no_candidates() -> None:
    found = way([tap("vnet0", "br0"), tap("vnet1", "br0"), interface("br0", "bridge"),
                 interface("eth0", master="br0"), interface("eth1")])  # fmt: skip
    assert devices(found) == ["vnet0", "br0", "eth0"]
    assert found.uplinks == ("eth0",) and found.choice is None
    assert "vnet0" in found.hops[1].reason and "br0" in found.hops[2].reason


def test_of_an_active_backup_bond_the_active_member_is_the_uplink() -> None:
    bond = interface("bond0", "bond", "br0", mode="active-backup", active_member="eth1")
    found = way([tap("vnet0", "br0"), interface("br0", "bridge"), bond,
                 interface("eth0", master="bond0"), interface("eth1", master="bond0")])  # fmt: skip
    assert devices(found) == ["vnet0", "br0", "bond0", "eth1"]
    assert found.uplinks == ("eth1",) and "active" in found.hops[-1].reason


def test_of_a_balancing_bond_every_member_is_a_candidate() -> None:
    bond = interface("bond0", "bond", "br0", mode="802.3ad")
    found = way([tap("vnet0", "br0"), interface("br0", "bridge"), bond,
                 interface("eth0", master="bond0"), interface("eth1", master="bond0")])  # fmt: skip
    assert devices(found) == ["vnet0", "br0", "bond0"]
    assert found.uplinks == ("eth0", "eth1")
    assert found.choice == "bond0 balances (802.3ad): eth0, eth1"


def test_a_vlan_device_leads_to_what_it_lies_on() -> None:
    found = way([tap("vnet0", "br100"), interface("br100", "bridge"),
                 interface("bond0.100", "vlan", "br100", link="bond0", id=100),
                 interface("bond0", "bond", mode="active-backup", active_member="eth0"),
                 interface("eth0", master="bond0")])  # fmt: skip
    assert devices(found) == ["vnet0", "br100", "bond0.100", "bond0", "eth0"]
    assert "VLAN 100" in found.hops[3].reason


def test_a_vlan_device_on_a_bridge_leads_through_that_bridge() -> None:
    found = way([tap("vnet0", "br1"), interface("br1", "bridge"),
                 interface("br0.7", "vlan", "br1", link="br0", id=7),
                 interface("br0", "bridge"), interface("eth0", master="br0")])  # fmt: skip
    assert devices(found) == ["vnet0", "br1", "br0.7", "br0", "eth0"]


def test_a_vxlan_device_leads_to_its_link_or_its_route() -> None:
    both = [tap("vnet0", "br0"), interface("br0", "bridge"), interface("eth0")]
    tied = interface("vx", "vxlan", "br0", link="eth0", id=9, remote="10.0.0.2")
    routed = interface("vx", "vxlan", "br0", egress="eth0", id=9, remote="10.0.0.2")
    lost = interface("vx", "vxlan", "br0", id=9, remote="10.0.0.2")
    for one in (tied, routed):
        found = way([*both, one])
        assert devices(found) == ["vnet0", "br0", "vx", "eth0"] and found.uplinks == ("eth0",)
        assert found.hops[-1].reason == "vxlan 9 to 10.0.0.2"
    found = way([*both, lost])
    assert devices(found) == ["vnet0", "br0", "vx"] and found.uplinks == ()
    assert found.choice and "route to 10.0.0.2" in found.choice


def test_several_uplinks_of_one_switch_are_candidates() -> None:
    found = way([tap("vnet0", "br0"), interface("br0", "bridge"),
                 interface("eth0", master="br0"), interface("eth1", master="br0")])  # fmt: skip
    assert devices(found) == ["vnet0", "br0"] and found.uplinks == ("eth0", "eth1")
    assert found.choice == "br0 has several ways out: eth0, eth1"


def test_a_bridge_without_uplink_and_a_tap_without_bridge_are_routed() -> None:
    found = way([tap("vnet0", "virbr0"), interface("virbr0", "bridge"), interface("eth0")])
    assert found.uplinks == () and devices(found) == ["vnet0", "virbr0"]
    assert found.choice == "virbr0 has no port to the wire: the host routes its packets"
    found = way([tap("vnet0"), interface("eth0")])
    assert found.uplinks == () and found.choice and "routes" in found.choice


def test_a_macvtap_lies_on_its_uplink() -> None:
    found = way([interface("macvtap0", "macvtap", link="eth0", mode="bridge"), interface("eth0")],
                name="macvtap0")  # fmt: skip
    assert devices(found) == ["macvtap0", "eth0"] and found.uplinks == ("eth0",)


def test_a_veth_pair_joins_two_bridges() -> None:
    found = way([tap("vnet0", "qbr"), interface("qbr", "bridge"),
                 interface("qvb", "veth", "qbr", peer="qvo"),
                 interface("qvo", "veth", "br0", peer="qvb"), interface("br0", "bridge"),
                 interface("eth0", master="br0")])  # fmt: skip
    assert devices(found) == ["vnet0", "qbr", "qvb", "qvo", "br0", "eth0"]


def test_a_veth_into_a_namespace_is_an_end_only_if_there_is_no_wire() -> None:
    away = interface("v0", "veth", "br0", namespace="router")
    base = [tap("vnet0", "br0"), interface("br0", "bridge"), away]
    found = way(base)
    assert found.uplinks == ("v0",) and found.choice == "v0 leads into namespace router"
    assert way([*base, interface("eth0", master="br0")]).uplinks == ("eth0",)


def test_circles_end() -> None:
    found = way([tap("vnet0", "a"), interface("a", "bridge"), interface("b", "bridge"),
                 interface("v0", "veth", "a", peer="v1"), interface("v1", "veth", "b", peer="v0"),
                 interface("w0", "veth", "b", peer="w1"), interface("w1", "veth", "a", peer="w0"),
                 interface("x", "vlan", "a", link="y"), interface("y", "vlan", "b", link="x"),
                 interface("bond0", "bond", "bond0", mode="802.3ad")])  # fmt: skip
    assert found.uplinks == ()


def test_many_pairs_between_two_bridges_are_tried_once_each() -> None:
    pairs = [interface(f"{end}{n}", "veth", end, peer=f"{'b' if end == 'a' else 'a'}{n}")
             for n in range(30) for end in ("a", "b")]  # fmt: skip
    found = way([tap("vnet0", "a"), interface("a", "bridge"), interface("b", "bridge"), *pairs])
    assert found.uplinks == ()
    found = way([tap("vnet0", "a"), interface("a", "bridge"), interface("b", "bridge"), *pairs,
                 interface("eth0", master="b")])  # fmt: skip
    assert (
        found.uplinks == ("eth0",) and found.choice and "several ways out: a0, a1" in found.choice
    )


# ---- Open vSwitch -------------------------------------------------------------------------------


OVS_BASE = [tap("vnet0", "ovs-system"), tap("vnet1", "ovs-system"),
            interface("eth0", master="ovs-system"), interface("br-int", "openvswitch"),
            interface("ovs-system", "openvswitch")]  # fmt: skip


def test_over_an_ovs_bridge() -> None:
    switch = ovs(br_int=[port("vnet0", tag=100), port("vnet1"), port("eth0")])
    found = way(OVS_BASE, switch)
    assert devices(found) == ["vnet0", "br-int", "eth0"] and found.uplinks == ("eth0",)
    assert "VLAN 100" in found.hops[1].reason
    assert found.hops[2].reason == "port of br-int, carries VLAN 100 tagged"


def test_a_port_that_does_not_carry_the_vlan_is_no_way() -> None:
    ports = [port("vnet0", tag=100), port("eth0", trunks=(200, 300)),
             port("eth1", trunks=(100,)), port("eth2", tag=7)]  # fmt: skip
    extra = [interface("eth1", master="ovs-system"), interface("eth2", master="ovs-system")]
    assert way([*OVS_BASE, *extra], ovs(br_int=ports)).uplinks == ("eth1",)
    qinq = [port("vnet0", tag=200, mode="dot1q-tunnel"), port("eth0"), port("eth2", tag=7)]
    assert way([*OVS_BASE, *extra], ovs(br_int=qinq)).uplinks == ("eth0",)


def test_patch_ports_join_bridges_and_the_vlan_goes_along() -> None:
    switch = ovs(
        br_int=[port("vnet0", tag=5), port("int-p", peer="phy-p"), port("int-t", peer="tun-t")],
        br_phys=[port("phy-p", peer="int-p"), port("eth0", trunks=(5,)), port("eth1", tag=6)],
        br_tun=[port("tun-t", peer="int-t")],
    )
    found = way([*OVS_BASE, interface("eth1", master="ovs-system")], switch)
    assert devices(found) == ["vnet0", "br-int", "int-p", "br-phys", "eth0"]
    assert "patch to phy-p" in found.hops[2].reason


def test_patch_ports_in_a_circle_end() -> None:
    switch = ovs(
        br_int=[port("vnet0"), port("a", peer="b"), port("c", peer="d")],
        br_two=[port("b", peer="a"), port("d", peer="c"), port("e", peer="gone")],
    )
    assert way(OVS_BASE, switch).uplinks == ()


def test_an_ovs_tunnel_leaves_by_the_device_that_ovs_names() -> None:
    switch = ovs(br_int=[port("vnet0"), port("vx0", "vxlan", remote_ip="10.0.0.2")])
    found = way([*OVS_BASE, interface("eth9")], switch, vx0="eth9")
    assert devices(found) == ["vnet0", "br-int", "vx0", "eth9"]
    assert found.uplinks == ("eth9",) and "tunnel to 10.0.0.2" in found.hops[2].reason
    lost = way(OVS_BASE, switch)
    assert lost.uplinks == () and lost.choice and "route to 10.0.0.2" in lost.choice


def test_a_tunnel_and_a_wire_are_both_candidates() -> None:
    switch = ovs(br_int=[port("vnet0"), port("eth0"), port("vx0", "vxlan", remote_ip="::2")])
    found = way([*OVS_BASE, interface("eth9")], switch, vx0="eth9")
    assert set(found.uplinks) == {"eth0", "eth9"}
    assert found.choice == "br-int has several ways out: eth0, vx0"


def bond(mode: Optional[str], active: Optional[str]) -> Ovs:
    members = tuple(OvsInterface(n, "system", 1, None, {}, {}) for n in ("eth0", "eth1"))
    return ovs(br_int=[port("vnet0"), OvsPort("bond1", None, (), None, mode, active, members)])


def test_an_ovs_bond_is_certain_only_while_one_member_is_active() -> None:
    extra = [*OVS_BASE, interface("eth1", master="ovs-system")]
    found = way(extra, bond(None, "eth1"))
    assert devices(found) == ["vnet0", "br-int", "bond1", "eth1"]
    found = way(extra, bond("balance-slb", "eth1"))
    assert found.uplinks == ("eth0", "eth1") and found.choice and "balance-slb" in found.choice
    found = way(extra, bond("active-backup", None))
    assert found.uplinks == ("eth0", "eth1") and found.choice and "no active" in found.choice


def test_from_a_linux_bridge_into_ovs_and_out() -> None:
    """OpenStack's hybrid plug: tap, Linux bridge, veth pair, Open vSwitch."""
    switch = ovs(br_int=[port("qvo", tag=3), port("eth0")])
    found = way([tap("vnet0", "qbr"), interface("qbr", "bridge"), *OVS_BASE[2:],
                 interface("qvb", "veth", "qbr", peer="qvo"),
                 interface("qvo", "veth", "ovs-system", peer="qvb")], switch)  # fmt: skip
    assert devices(found) == ["vnet0", "qbr", "qvb", "qvo", "br-int", "eth0"]
    assert "VLAN 3" in found.hops[4].reason


def test_a_bridge_port_that_is_an_internal_port_leads_into_ovs() -> None:
    switch = ovs(br_int=[port("in0", "internal", tag=9), port("eth0")])
    found = way([tap("vnet0", "br0"), interface("br0", "bridge"), *OVS_BASE[2:],
                 interface("in0", "openvswitch", "br0")], switch)  # fmt: skip
    assert devices(found) == ["vnet0", "br0", "in0", "br-int", "eth0"]


def test_without_the_database_the_way_ends_at_the_switch() -> None:
    found = way(OVS_BASE)
    assert found.uplinks == () and found.choice and "not visible" in found.choice


def test_a_tap_that_is_elsewhere_says_so() -> None:
    from vmlat_tui.model.topology import Backend, Domain, DomainState, Known, Vnic

    vnic = Vnic("far0", None, None, Backend.VHOST, 1, None, None, ())
    domain = Domain(
        "vm", None, Known.PROCESS, DomainState.RUNNING, 1, None, (), (), (vnic,), (), ()
    )
    (found,) = find_ways([], NO_OVS, [domain])
    assert found.hops[0].reason == "tap of vm" and found.choice and "namespace" in found.choice
