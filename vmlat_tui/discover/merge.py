"""One list of VMs from what libvirt and what /proc know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Optional

from vmlat_tui.discover.domains import Described
from vmlat_tui.discover.qemu import Machine
from vmlat_tui.discover.vhost import assign
from vmlat_tui.model.topology import (
    Address,
    Domain,
    DomainState,
    Interface,
    Known,
    Vcpu,
    Vnic,
)


@dataclass(frozen=True)
class Surroundings:
    """What else is known of vNICs: their taps, and who has which addresses."""

    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    #: Hardware address -> IPs, from this host's neighbour table.
    neighbours: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Domain -> hardware address -> addresses, from the guests.
    agents: Mapping[str, Mapping[str, tuple[Address, ...]]] = field(default_factory=dict)


def merge(
    described: Sequence[Described], machines: Sequence[Machine], around: Surroundings
) -> tuple[Domain, ...]:
    """libvirt knows names, states and devices; /proc knows processes and threads."""
    by_uuid = {m.guest.uuid: m for m in machines if m.guest.uuid}
    domains, taken = [], set()
    for one in described:
        machine = by_uuid.get(one.uuid)
        if machine:
            taken.add(machine.pid)
        domains.append(_known(one, machine, around))
    domains += [_unknown(m, around) for m in machines if m.pid not in taken]
    return tuple(sorted(domains, key=lambda d: (d.name, d.pid or 0)))


def _known(one: Described, machine: Optional[Machine], around: Surroundings) -> Domain:
    vnics = [_joined(v, i in one.told, machine) for i, v in enumerate(one.vnics)]
    domain = _domain(one.name, one.uuid, Known.LIBVIRT, one.state, machine, vnics, around)
    if machine is None:
        nobody = tuple(Vcpu(n, None, False) for n in range(one.vcpus))
        domain = replace(domain, vcpus=nobody)
    return replace(domain, memory_kb=one.memory_kb)


def _unknown(machine: Machine, around: Surroundings) -> Domain:
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
    machine: Optional[Machine],
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


def _joined(vnic: Vnic, told: bool, machine: Optional[Machine]) -> Vnic:
    """A vNIC of libvirt with what its process shows: how many queues, and who moves packets."""
    for seen in machine.vnics if machine else ():
        if (vnic.tap and seen.tap == vnic.tap) or (vnic.mac and seen.mac == vnic.mac):
            return replace(
                vnic,
                tap=vnic.tap or seen.tap,
                queues=seen.queues,
                backend=vnic.backend if told else seen.backend,
            )
    return vnic


def _complete(vnic: Vnic, agents: Mapping[str, tuple[Address, ...]], around: Surroundings) -> Vnic:
    mac = vnic.mac or ""
    arp = tuple(Address(ip, "arp") for ip in around.neighbours.get(mac, ()))
    every = {a.ip: a for a in reversed((*agents.get(mac, ()), *vnic.addresses, *arp))}
    tap = around.interfaces.get(vnic.tap or "")
    mtu = vnic.mtu if vnic.mtu is not None else tap.mtu if tap else None
    return replace(
        vnic, mtu=mtu, addresses=tuple(sorted(every.values(), key=lambda a: (a.source, a.ip)))
    )
