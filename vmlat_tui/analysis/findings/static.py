"""What looks wrong already, before any packet is measured: where threads run, and settings.

Every rule names a fact that can be seen in the topology.  None of them measures, so none names a
time: whether it costs any, :func:`vmlat_tui.analysis.findings.judge` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Optional

from vmlat_tui.analysis.findings import distance, halting, migrating, waits
from vmlat_tui.analysis.findings.finding import (
    Finding,
    Kind,
    Numbers,
    Severity,
    Sureness,
    found,
)
from vmlat_tui.analysis.findings.slowness import SIBLING
from vmlat_tui.analysis.placement import node_of
from vmlat_tui.model.topology import Backend, Cpu, Domain, DomainState, Topology, Vnic
from vmlat_tui.model.wakeups import Role

_SHARED = replace(waits.KINDS[Role.WORKER, "shared"], word="worker on vCPU's CPU")
_BESIDE = replace(SIBLING, word="worker beside vCPU")
_UNPINNED = replace(migrating.KINDS[Role.VCPU], id="vcpus-unpinned", word="vCPUs unpinned")
_NO_VHOST = Kind(
    "no-vhost", "no vhost", Severity.SUSPECT,
    "QEMU itself moves the packets between the guest's queues and the tap.",
    "Use vhost-net: driver name='vhost' in libvirt, vhost=on on QEMU's command line.",
)  # fmt: skip
_NO_VIRTIO = Kind(
    "no-virtio", "no virtio", Severity.SUSPECT,
    "The guest drives hardware that QEMU emulates: every access to it leaves the guest.",
    "Use a virtio NIC, if the guest has a driver for it.",
)  # fmt: skip


def standing(topology: Topology, domain: Domain, vnic: Optional[Vnic] = None) -> list[Finding]:
    """Everything that stands out about a VM (and one vNIC of it), worst first."""
    if domain.state is not DomainState.RUNNING:
        return []
    vnics = domain.vnics if vnic is None else (vnic,)
    every = [
        *_shared_cpus(topology, domain),
        *_nodes(topology, domain),
        *_uplink_nodes(topology, domain, vnics),
        *_backends(vnics),
        *_pinning(domain),
        *_halt_polling(topology),
    ]
    return sorted(every, key=lambda finding: -finding.severity)


def headline(words: Sequence[str]) -> str:
    """A word for a list: the first, and how many more there are."""
    if not words:
        return ""
    return words[0] + (f" +{len(words) - 1}" if len(words) > 1 else "")


def _seen(
    kind: Kind, sentence: str, severity: Severity, numbers: Optional[Numbers] = None
) -> Finding:
    return found(kind, sentence, Sureness.POSSIBLE, numbers or {}, severity=severity)


def _cpu(topology: Topology, number: Optional[int]) -> Optional[Cpu]:
    return next((c for c in topology.cpus if c.number == number), None)


def _shared_cpus(topology: Topology, domain: Domain) -> Iterator[Finding]:
    vcpus = {v.thread.cpu: v.number for v in domain.vcpus if v.thread and v.pinned}
    for worker in domain.workers:
        cpu = worker.thread.cpu
        if len(worker.thread.cpus) != 1 or cpu is None:
            continue
        if cpu in vcpus:
            yield _seen(
                _SHARED,
                f"vhost worker {worker.thread.tid} and vCPU {vcpus[cpu]} are both bound to CPU"
                f" {cpu}: one waits for the other",
                Severity.WRONG,
                {"tid": worker.thread.tid, "cpu": cpu},
            )
            continue
        here = _cpu(topology, cpu)
        beside = next((c for c in vcpus if here and c != cpu and c in here.siblings), None)
        if beside is not None:
            yield _seen(
                _BESIDE,
                f"vhost worker {worker.thread.tid} on CPU {cpu} shares a core with vCPU"
                f" {vcpus[beside]} on CPU {beside}",
                Severity.NOTE,
                {"tid": worker.thread.tid, "cpu": cpu},
            )


def _nodes(topology: Topology, domain: Domain) -> Iterator[Finding]:
    if not domain.memory_nodes:
        return
    memory = ", ".join(map(str, domain.memory_nodes))
    for worker in domain.workers:
        node = node_of(topology, worker.thread.cpu)
        if node is not None and node not in domain.memory_nodes:
            yield _seen(
                distance.WORKER_MEMORY,
                f"vhost worker {worker.thread.tid} ran on node {node}, the VM's memory is on node"
                f" {memory}: every copy crosses nodes",
                Severity.WRONG,
                {"tid": worker.thread.tid},
            )
    far = [
        v.number
        for v in domain.vcpus
        if v.thread and node_of(topology, v.thread.cpu) not in (None, *domain.memory_nodes)
    ]
    if far:
        yield _seen(
            distance.VCPU_MEMORY,
            f"vCPU {', '.join(map(str, far))} ran on another node than the VM's memory ({memory})",
            Severity.SUSPECT,
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
                    yield _seen(
                        distance.WORKER_NIC,
                        f"{name} is on node {uplink.node}, vhost worker {worker.thread.tid} ran on"
                        f" node {node}",
                        Severity.NOTE,
                        {"interface": name, "tid": worker.thread.tid},
                    )
                    break


def _backends(vnics: tuple[Vnic, ...]) -> Iterator[Finding]:
    for vnic in vnics:
        if vnic.backend is Backend.QEMU:
            yield _seen(
                _NO_VHOST,
                f"QEMU itself moves the packets of {vnic.tap}: every one wakes its main loop",
                Severity.SUSPECT,
            )
        elif vnic.model not in (None, "virtio", "virtio-net-pci"):
            yield _seen(_NO_VIRTIO, f"{vnic.tap} emulates {vnic.model}", Severity.SUSPECT)


def _pinning(domain: Domain) -> Iterator[Finding]:
    free = [v.number for v in domain.vcpus if v.thread and not v.pinned]
    if free:
        yield _seen(
            _UNPINNED,
            f"{len(free)} of {len(domain.vcpus)} vCPUs may run on every CPU of the host",
            Severity.NOTE,
        )


def _halt_polling(topology: Topology) -> Iterator[Finding]:
    if topology.halt_polling.halt_poll_ns == 0:
        yield _seen(
            halting.OFF,
            "halt_poll_ns is 0: every idle vCPU sleeps at once and has to be woken",
            Severity.SUSPECT,
        )
