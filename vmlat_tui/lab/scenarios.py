"""The networks the lab can set up, as data: domains, switch, tags, uplink and addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from vmlat_tui.errors import UsageError

BRIDGE = "br0"
REMOTE_NS = "remote"
REMOTE_IP4 = "192.168.77.1"
REMOTE_IP6 = "fd77::1"
PREFIX4 = 24
PREFIX6 = 64

#: The ports on which every guest, and the remote side, sends back what it gets.
TCP_ECHO = 7000
UDP_ECHO = 7001


@dataclass(frozen=True)
class Domain:
    """One guest.

    One that is ``whole`` boots the root file system of the hypervisors: it has sshd, Python and
    BCC, and a second vNIC for management.  ``hypervisor`` is the index of the one that runs it.
    """

    name: str
    number: int
    vcpus: int = 1
    queues: int = 1
    vhost: bool = True
    whole: bool = False
    hypervisor: int = 0

    @property
    def ip4(self) -> str:
        """Its IPv4 address, without the prefix length."""
        return f"192.168.77.{9 + self.number}"

    @property
    def ip6(self) -> str:
        """Its IPv6 address, without the prefix length."""
        return f"fd77::{9 + self.number}"

    @property
    def mac(self) -> str:
        """The hardware address of its only vNIC."""
        return f"52:54:00:77:00:{9 + self.number:02x}"

    @property
    def variable(self) -> str:
        """The stem of its environment variables, such as ``VMLAT_VM_A``."""
        return "VMLAT_" + self.name.upper().replace("-", "_")


@dataclass(frozen=True)
class Scenario:
    """One network: everything that a choice of ``--scenario`` decides.

    ``tag`` is the VLAN of the guests' switch port.  With ``outer_tag`` the guest itself sends
    frames tagged with ``tag`` and the switch adds the outer one (802.1ad).  ``hypervisors`` are the
    names of the machines.
    """

    name: str
    summary: str
    domains: tuple[Domain, ...]
    openvswitch: bool = True
    tag: Optional[int] = None
    outer_tag: Optional[int] = None
    bond: bool = False
    hypervisors: tuple[str, ...] = ("lab",)

    @property
    def paired(self) -> bool:
        """The wire's far end is another hypervisor, not the remote namespace."""
        return len(self.hypervisors) > 1

    def domains_on(self, hypervisor: int) -> tuple[Domain, ...]:
        """The guests of one of the machines, by its index."""
        return tuple(each for each in self.domains if each.hypervisor == hypervisor)

    @property
    def uplink(self) -> str:
        """The device that joins the bridge to the wire."""
        return "bond0" if self.bond else "phy0"

    @property
    def members(self) -> tuple[str, ...]:
        """The emulated NICs behind the uplink."""
        return ("phy0", "phy1") if self.bond else ("phy0",)

    @property
    def remote_device(self) -> str:
        """The device that carries the addresses of the remote side."""
        if self.outer_tag is not None:
            return "inner"
        if self.tag is not None:
            return "tagged"
        return "rbr0" if self.bond else "remote0"


VM_A = Domain("vm-a", 1)
VM_B = Domain("vm-b", 2, vcpus=2, queues=2)

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("ovs", "vm-a over vhost-net on an Open vSwitch bridge, uplink phy0", (VM_A,)),
        Scenario("bridge", "the same on a Linux bridge", (VM_A,), openvswitch=False),
        Scenario("vlan", "access port with tag 100, tagged uplink", (VM_A,), tag=100),
        Scenario(
            "qinq",
            "the guest sends tag 10, the switch adds 200 (802.1ad): two tags on the wire",
            (VM_A,),
            tag=10,
            outer_tag=200,
        ),
        Scenario(
            "bond", "the uplink is bond0, active-backup over phy0 and phy1", (VM_A,), bond=True
        ),
        Scenario("two-vms", "vm-a, and vm-b with two vCPUs and two queues", (VM_A, VM_B)),
        Scenario(
            "qemu", "no vhost: QEMU itself moves the packets", (Domain("vm-a", 1, vhost=False),)
        ),
        Scenario(
            "pair",
            "two hypervisors joined by a cable: vm-a on one, vm-b on the other, both with sshd",
            (Domain("vm-a", 1, whole=True), Domain("vm-b", 2, whole=True, hypervisor=1)),
            hypervisors=("hypervisor-a", "hypervisor-b"),
        ),
    )
}

DEFAULT_SCENARIO = "ovs"

#: Between these a running hypervisor can be changed.
ALONE = tuple(each.name for each in SCENARIOS.values() if not each.paired)


def scenario(name: str) -> Scenario:
    """Return the scenario of this name, or say which there are."""
    try:
        return SCENARIOS[name]
    except KeyError:
        raise UsageError(
            "no such scenario", repr(name), f"choose one of {', '.join(SCENARIOS)}"
        ) from None
