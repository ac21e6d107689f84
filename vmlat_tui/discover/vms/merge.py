"""One list of VMs from what libvirt and what /proc know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Optional

from vmlat_tui.discover.vms.domains import Described
from vmlat_tui.discover.vms.qemu import QemuProcess
from vmlat_tui.discover.vms.vhost import assign
from vmlat_tui.model.topology import (
    Address,
    Domain,
    DomainState,
    Interface,
    Known,
    Vcpu,
    Vnic,
)

#: Of one vNIC, as its guest can answer for any number of them.
_MOST_ADDRESSES = 64


@dataclass(frozen=True)
class Surroundings:
    """What else is known of vNICs: their taps, and who has which addresses."""

    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    #: Hardware address -> IPs, from this host's neighbour table.
    neighbours: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Domain -> hardware address -> addresses, from the guests.
    agents: Mapping[str, Mapping[str, tuple[Address, ...]]] = field(default_factory=dict)


def merge(
    described: Sequence[Described], machines: Sequence[QemuProcess], around: Surroundings
) -> tuple[Domain, ...]:
    """libvirt knows names, states and devices; /proc knows processes and threads."""
    domains, matched = [], set()
    for one in described:
        machine = _process_of(one, machines, around)
        if machine:
            matched.add(machine.pid)
        domains.append(_known(one, machine, around))
    names = {d.name for d in domains}
    for machine in machines:
        if machine.pid not in matched:
            domain = _unknown(machine, around)
            # A VM is known by its name everywhere, and another's is no process's to take.
            if domain.name in names:
                domain = replace(domain, name=f"{domain.name} (process {machine.pid})")
            names.add(domain.name)
            domains.append(domain)
    return tuple(sorted(domains, key=lambda d: (d.name, d.pid or 0)))


def _process_of(
    one: Described, machines: Sequence[QemuProcess], around: Surroundings
) -> Optional[QemuProcess]:
    """The process of a VM, though any process may name the same UUID: that which holds its taps.

    If it has none here, the one whose owner is trusted, and who is older: they come first.
    """
    if one.state in (DomainState.OFF, DomainState.CRASHED):
        return None
    same = [m for m in machines if m.guest.uuid and m.guest.uuid == one.uuid]
    taps = {v.tap for v in one.vnics if v.tap in around.interfaces}
    for machine in same:
        if taps & {v.tap for v in machine.vnics}:
            return machine
    return next((m for m in same if not (taps and m.seen)), None)


def _known(one: Described, machine: Optional[QemuProcess], around: Surroundings) -> Domain:
    vnics = [_joined(v, i in one.named, machine) for i, v in enumerate(one.vnics)]
    if one.problem and machine:
        vnics = list(machine.vnics)
    domain = _domain(one.name, one.uuid, Known.LIBVIRT, one.state, machine, vnics, around)
    if machine is None:
        nobody = tuple(Vcpu(n, None, False) for n in range(one.vcpus))
        domain = replace(domain, vcpus=nobody)
    return domain if one.problem else replace(domain, memory_kb=one.memory_kb)


def _unknown(machine: QemuProcess, around: Surroundings) -> Domain:
    name = machine.guest.name or f"qemu-{machine.pid}"
    vnics = list(machine.vnics)
    return _domain(
        name, machine.guest.uuid, Known.PROCESS, DomainState.RUNNING, machine, vnics, around
    )


def _domain(
    name: str,
    uuid: Optional[str],
    known: Known,
    state: DomainState,
    machine: Optional[QemuProcess],
    vnics: Sequence[Vnic],
    around: Surroundings,
) -> Domain:
    agents = around.agents.get(name, {})
    complete = tuple(_complete(vnic, agents, around) for vnic in vnics)
    index = {name: i.ifindex for name, i in around.interfaces.items()}
    return Domain(
        name=name,
        uuid=uuid,
        known=known,
        state=state,
        pid=machine.pid if machine else None,
        memory_kb=machine.guest.memory_kb if machine else None,
        memory_nodes=machine.memory_nodes if machine else (),
        vcpus=machine.vcpus if machine else (),
        vnics=complete,
        workers=assign(machine.workers, complete, index) if machine else (),
        emulator=machine.emulator if machine else (),
    )


def _joined(vnic: Vnic, named: bool, machine: Optional[QemuProcess]) -> Vnic:
    """A vNIC of libvirt with what its process shows: how many queues, and who moves packets."""
    for seen in machine.vnics if machine else ():
        if (vnic.tap and seen.tap == vnic.tap) or (vnic.mac and seen.mac == vnic.mac):
            return replace(
                vnic,
                tap=vnic.tap or seen.tap,
                queues=seen.queues,
                backend=vnic.backend if named else seen.backend,
            )
    return vnic


def _complete(vnic: Vnic, agents: Mapping[str, tuple[Address, ...]], around: Surroundings) -> Vnic:
    mac = vnic.mac or ""
    arp = tuple(Address(ip, "arp") for ip in around.neighbours.get(mac, ())[:_MOST_ADDRESSES])
    every = {a.ip: a for a in reversed((*agents.get(mac, ()), *vnic.addresses, *arp))}
    tap = around.interfaces.get(vnic.tap or "")
    mtu = vnic.mtu if vnic.mtu is not None else tap.mtu if tap else None
    return replace(
        vnic, mtu=mtu, addresses=tuple(sorted(every.values(), key=lambda a: (a.source, a.ip)))
    )
