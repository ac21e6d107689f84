"""What looks wrong already, before any packet is measured: where threads run, and settings.

Every rule names a fact that can be seen in the topology; none of them measures.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.model.topology import Backend, Cpu, Domain, DomainState, Topology, Vnic


class Weight(enum.IntEnum):
    """How much a finding matters."""

    NOTE = 0
    SUSPECT = 1
    WRONG = 2


@dataclass(frozen=True)
class Finding:
    """A short word for a list, and the sentence with the evidence."""

    word: str
    sentence: str
    weight: Weight


def findings(topology: Topology, domain: Domain, vnic: Optional[Vnic] = None) -> list[Finding]:
    """Everything that stands out about a VM (and one vNIC of it), worst first."""
    if domain.state is not DomainState.RUNNING:
        return []
    vnics = domain.vnics if vnic is None else (vnic,)
    found = [
        *_shared_cpus(topology, domain),
        *_nodes(topology, domain),
        *_uplink_nodes(topology, domain, vnics),
        *_backends(vnics),
        *_pinning(domain),
        *_halt_polling(topology),
    ]
    return sorted(found, key=lambda finding: -finding.weight)


def headline(found: list[Finding]) -> str:
    """A word for the list of VMs: the worst, and how many more there are."""
    if not found:
        return ""
    more = f" +{len(found) - 1}" if len(found) > 1 else ""
    return found[0].word + more


def node_of(topology: Topology, cpu: Optional[int]) -> Optional[int]:
    """The NUMA node of a CPU."""
    found = _cpu(topology, cpu)
    return found.node if found else None


def cpu_list(cpus: tuple[int, ...]) -> str:
    """``0-3,8`` as the kernel writes it."""
    parts = []
    ordered = sorted(set(cpus))
    while ordered:
        run = 1
        while run < len(ordered) and ordered[run] == ordered[0] + run:
            run += 1
        first, last = ordered[0], ordered[run - 1]
        parts.append(str(first) if run == 1 else f"{first}-{last}")
        ordered = ordered[run:]
    return ",".join(parts)


def _cpu(topology: Topology, number: Optional[int]) -> Optional[Cpu]:
    return next((c for c in topology.cpus if c.number == number), None)


def _shared_cpus(topology: Topology, domain: Domain) -> Iterator[Finding]:
    vcpus = {v.thread.cpu: v.number for v in domain.vcpus if v.thread and v.pinned}
    for worker in domain.workers:
        cpu = worker.thread.cpu
        if len(worker.thread.cpus) != 1 or cpu is None:
            continue
        if cpu in vcpus:
            yield Finding(
                "worker on vCPU's CPU",
                f"vhost worker {worker.thread.tid} and vCPU {vcpus[cpu]} are both bound to CPU"
                f" {cpu}: one waits for the other",
                Weight.WRONG,
            )
            continue
        here = _cpu(topology, cpu)
        beside = next((c for c in vcpus if here and c != cpu and c in here.siblings), None)
        if beside is not None:
            yield Finding(
                "worker beside vCPU",
                f"vhost worker {worker.thread.tid} on CPU {cpu} shares a core with vCPU"
                f" {vcpus[beside]} on CPU {beside}",
                Weight.NOTE,
            )


def _nodes(topology: Topology, domain: Domain) -> Iterator[Finding]:
    if not domain.memory_nodes:
        return
    memory = ", ".join(map(str, domain.memory_nodes))
    for worker in domain.workers:
        node = node_of(topology, worker.thread.cpu)
        if node is not None and node not in domain.memory_nodes:
            yield Finding(
                "worker on far node",
                f"vhost worker {worker.thread.tid} ran on node {node}, the VM's memory is on node"
                f" {memory}: every copy crosses nodes",
                Weight.WRONG,
            )
    far = [
        v.number
        for v in domain.vcpus
        if v.thread and node_of(topology, v.thread.cpu) not in (None, *domain.memory_nodes)
    ]
    if far:
        yield Finding(
            "vCPU on far node",
            f"vCPU {', '.join(map(str, far))} ran on another node than the VM's memory ({memory})",
            Weight.SUSPECT,
        )


def _uplink_nodes(topology: Topology, domain: Domain, vnics: tuple[Vnic, ...]) -> Iterator[Finding]:
    taps = {v.tap for v in vnics}
    for way in topology.ways:
        if way.tap not in taps:
            continue
        for name in way.uplinks:
            uplink = topology.interface(name)
            for worker in domain.workers:
                node = node_of(topology, worker.thread.cpu)
                if uplink and uplink.node is not None and node not in (None, uplink.node):
                    yield Finding(
                        "NIC on far node",
                        f"{name} is on node {uplink.node}, vhost worker {worker.thread.tid} ran on"
                        f" node {node}",
                        Weight.NOTE,
                    )
                    break


def _backends(vnics: tuple[Vnic, ...]) -> Iterator[Finding]:
    for vnic in vnics:
        if vnic.backend is Backend.QEMU:
            yield Finding(
                "no vhost",
                f"QEMU itself moves the packets of {vnic.tap}: every one wakes its main loop",
                Weight.SUSPECT,
            )
        elif vnic.model not in (None, "virtio", "virtio-net-pci"):
            yield Finding("no virtio", f"{vnic.tap} emulates {vnic.model}", Weight.SUSPECT)


def _pinning(domain: Domain) -> Iterator[Finding]:
    free = [v.number for v in domain.vcpus if v.thread and not v.pinned]
    if free:
        yield Finding(
            "vCPUs unpinned",
            f"{len(free)} of {len(domain.vcpus)} vCPUs may run on every CPU of the host",
            Weight.NOTE,
        )


def _halt_polling(topology: Topology) -> Iterator[Finding]:
    if topology.halt_polling.halt_poll_ns == 0:
        yield Finding(
            "halt polling off",
            "halt_poll_ns is 0: every idle vCPU sleeps at once and has to be woken",
            Weight.SUSPECT,
        )
