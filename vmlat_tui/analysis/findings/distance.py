"""Worker, vCPU, memory, NIC and its interrupts on different NUMA nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Finding, Kind, Numbers, Severity, Sureness, found
from vmlat_tui.analysis.findings.spent import explained
from vmlat_tui.analysis.placement import node_of
from vmlat_tui.model.points import Direction
from vmlat_tui.model.topology import Worker

#: Memory of another node answers in up to about twice the time (the tables of two-socket machines
#: have 20 or 21 against 10): at most half of what is done there is for the distance.
DISTANCE = 0.5

_COPY = {
    Direction.TX: (("vhost_tx>tun_in",), ("tun_in>vnet_rx", "tun_in>switch_in")),
    Direction.RX: (("vhost_take>vhost_signal",),),
}
_TAKE = (("vhost_on_cpu>vhost_take",), ("vhost_take>vhost_signal",))
_WAKE = (("tun_out>vhost_woken",), ("vhost_on_cpu>vhost_take",), ("vhost_take>vhost_signal",))
_ENTER = (("vcpu_on_cpu>guest_entry", "irq_accept>guest_entry"),)

WORKER_MEMORY = Kind(
    "worker-far-memory", "worker on far node", Severity.WRONG,
    "The vhost worker copies every packet from or to the guest's memory, over the connection "
    "between the nodes.",
    "Bind the worker to CPUs of the guest's node: taskset -pc {tid}; in libvirt emulatorpin (older "
    "kernels) or iothreads' cpuset. numastat -p {pid} shows where the guest's memory is.",
)  # fmt: skip
VCPU_MEMORY = Kind(
    "vcpu-far-memory", "vCPU on far node", Severity.SUSPECT,
    "A vCPU away from the guest's memory enters the guest more slowly, and runs more slowly "
    "inside, which is not in these figures.",
    "Bind vCPUs and memory to one node: vcpupin and numatune in libvirt; numastat -p {pid}.",
)  # fmt: skip
WORKER_NIC = Kind(
    "worker-far-nic", "NIC on far node", Severity.NOTE,
    "What the NIC received lies in memory of its own node, and the worker reads it from another.",
    "Place VMs with much traffic on the NIC's node (cat /sys/class/net/{interface}/device/"
    "numa_node), or use a NIC of theirs.",
)  # fmt: skip
INTERRUPTS = Kind(
    "nic-interrupts-far", "NIC interrupts far from worker", Severity.NOTE,
    "The CPU that takes the NIC's interrupts carries every received packet up to tun; the worker "
    "then fetches it from that CPU's caches, and is woken across nodes.",
    "Bring the interrupts of {interface} to the worker's node: /proc/irq/N/smp_affinity_list, "
    "set_irq_affinity, or irqbalance's policy.",
)  # fmt: skip


def _at_most(
    evidence: Evidence,
    kind: Kind,
    direction: Direction,
    parts: tuple[tuple[str, ...], ...],
    sentence: str,
    numbers: Numbers,
) -> Iterator[Finding]:
    ids = [[f"{direction.id}:{leg}" for leg in part] for part in parts]
    time = explained(evidence, direction, [evidence.leg(*part) for part in ids], DISTANCE)
    if time is not None:
        legs = tuple(leg for part in ids for leg in part if leg in evidence.legs)
        yield found(kind, sentence, Sureness.POSSIBLE, numbers, time, legs)


def _node(evidence: Evidence, tid: int) -> Optional[int]:
    return node_of(evidence.topology, evidence.cpu_of(tid))


def _workers(evidence: Evidence) -> Iterator[tuple[Worker, int]]:
    for worker in evidence.workers:
        node = _node(evidence, worker.thread.tid)
        if node is not None:
            yield worker, node


def memory(evidence: Evidence) -> Iterator[Finding]:
    """Workers and vCPUs away from the guest's memory."""
    nodes = evidence.domain.memory_nodes
    if not nodes:
        return
    where = ", ".join(map(str, nodes))
    pid: Numbers = {"pid": evidence.domain.pid} if evidence.domain.pid is not None else {}
    for worker, node in _workers(evidence):
        if node not in nodes:
            tid = worker.thread.tid
            sentence = f"vhost worker {tid} ran on node {node}, the VM's memory is on node {where}"
            for direction, parts in _COPY.items():
                numbers = {**pid, "tid": tid, "node": node, "memory_nodes": where}
                yield from _at_most(
                    evidence, WORKER_MEMORY, direction, parts, f"{sentence}: every copy crosses "
                    "nodes", numbers
                )  # fmt: skip
            break
    vcpus = [(v.number, _node(evidence, v.thread.tid)) for v in evidence.domain.vcpus if v.thread]
    far = ", ".join(str(number) for number, node in vcpus if node not in (None, *nodes))
    if far:
        sentence = f"vCPU {far} ran on another node than the VM's memory ({where})"
        numbers = {**pid, "vcpus": far, "memory_nodes": where}
        yield from _at_most(evidence, VCPU_MEMORY, Direction.RX, _ENTER, sentence, numbers)


def nic(evidence: Evidence) -> Iterator[Finding]:
    """The NIC, or the CPUs that take its interrupts, away from the worker."""
    for worker, node in _workers(evidence):
        for uplink in evidence.uplinks:
            numbers: Numbers = {
                "interface": uplink.name,
                "tid": worker.thread.tid,
                "node": node,
            }
            ran = f"vhost worker {worker.thread.tid} ran on node {node}"
            if uplink.node is not None and uplink.node != node:
                yield from _at_most(
                    evidence, WORKER_NIC, Direction.RX, _TAKE,
                    f"{uplink.name} is on node {uplink.node}, {ran}", numbers
                )  # fmt: skip
                return
            cpus = sorted({cpu for irq in uplink.irqs for cpu in irq.effective})
            there = {node_of(evidence.topology, cpu) for cpu in cpus} - {None}
            if there and node not in there:
                nodes = ", ".join(str(n) for n in sorted(n for n in there if n is not None))
                yield from _at_most(
                    evidence, INTERRUPTS, Direction.RX, _WAKE,
                    f"the interrupts of {uplink.name} go to CPUs of node {nodes}, {ran}", numbers
                )  # fmt: skip
                return
