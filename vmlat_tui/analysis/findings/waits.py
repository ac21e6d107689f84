"""A woken worker or vCPU had to wait because another task ran on its CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Finding, Kind, Numbers, Severity, found
from vmlat_tui.analysis.findings.spent import explained
from vmlat_tui.analysis.findings.wakes import Wake, wakes
from vmlat_tui.analysis.findings.words import percent, quantiles
from vmlat_tui.model.topology import Domain, Thread
from vmlat_tui.model.wakeups import Role, Wakeups

#: One task that ran for so much of the time of the waits is the cause of them.
_MOST = 0.5

_MEANING = (
    "It was ready to run, and another task had its CPU. Every packet that woke it waited as long."
)
_REMEDY_ONE = (
    "Give it a CPU of its own, or move the other task: taskset -pc {tid} shows where it may run, "
    "ps -eLo tid,psr,pri,comm --sort psr what runs on CPU {cpu}. Look at its scheduling class, too."
)
_REMEDY_MANY = (
    "Bind it to CPUs that others leave alone, or take load off this host: "
    "ps -eLo tid,psr,pcpu,comm --sort psr shows what runs where, taskset -pc {tid} where it may."
)
_REMEDY_ISOLATED = (
    "Keep other tasks off CPU {cpu}: isolcpus or a cpuset for the host's own services, "
    "irqbalance's banned CPUs, nohz_full; cat /sys/devices/system/cpu/isolated shows what is "
    "isolated now."
)

KINDS = {
    (Role.WORKER, "shared"): Kind(
        "worker-shares-cpu", "worker shares its CPU", Severity.WRONG, _MEANING, _REMEDY_ONE
    ),
    (Role.WORKER, "unisolated"): Kind(
        "worker-cpu-not-isolated", "worker's CPU is not isolated", Severity.SUSPECT, _MEANING,
        _REMEDY_ISOLATED,
    ),
    (Role.WORKER, "queued"): Kind(
        "worker-run-queue", "worker waits for a CPU", Severity.WRONG, _MEANING, _REMEDY_MANY
    ),
    (Role.VCPU, "shared"): Kind(
        "vcpu-shares-cpu", "vCPU shares its CPU", Severity.WRONG, _MEANING, _REMEDY_ONE
    ),
    (Role.VCPU, "unisolated"): Kind(
        "vcpu-cpu-not-isolated", "vCPU's CPU is not isolated", Severity.SUSPECT, _MEANING,
        _REMEDY_ISOLATED,
    ),
    (Role.VCPU, "queued"): Kind(
        "vcpu-run-queue", "vCPU waits for a CPU", Severity.WRONG, _MEANING, _REMEDY_MANY
    ),
}  # fmt: skip


def run_queue(evidence: Evidence) -> Iterator[Finding]:
    """Run-queue wait, under the name of its cause: one task, many on a shared CPU, or just many."""
    for wake in wakes(evidence):
        time = explained(evidence, wake.direction, (wake.parts.queued,))
        if time is not None:
            worst = max(wake.rows, key=lambda row: row.queued.sum_ns)
            cause, numbers, sentence = _cause(evidence, wake, worst)
            kind = KINDS[wake.role, cause]
            yield found(kind, sentence, wake.sureness, numbers, time, (wake.leg_id,))


def _cause(evidence: Evidence, wake: Wake, worst: Wakeups) -> tuple[str, Numbers, str]:
    cpu, thread = evidence.cpu_of(worst.tid), evidence.thread(worst.tid)
    half_ns, most_ns = worst.queued.quantiles(0.5, 0.99)
    numbers: dict[str, int | float | str] = {
        "tid": worst.tid,
        "wakeups": worst.count,
        "queued": worst.queued.count,
        "queued_p50_ns": half_ns,
        "queued_p99_ns": most_ns,
    }
    if cpu is not None:
        numbers["cpu"] = cpu
    where = f" for CPU {cpu}" if cpu is not None else ""
    sentence = (
        f"{evidence.name(worst.tid)} waited{where} behind other tasks in "
        f"{percent(worst.queued.count / worst.count)} of {worst.count} wake-ups "
        f"({quantiles(worst.queued)})"
    )
    ahead = sorted(worst.ahead_ns.items(), key=lambda item: (-item[1], item[0]))
    # The vCPUs of other VMs count together: a guest moves its load between its own.
    called = _vcpu_names(evidence)
    vcpus = [(name, ns) for name, ns in ahead if name in called]
    for those in (ahead[:1], vcpus):
        held_ns = sum(ns for _, ns in those)
        if those and held_ns >= _MOST * worst.queued.sum_ns:
            share = min(held_ns / worst.queued.sum_ns, 1.0)
            numbers.update(ahead=", ".join(name for name, _ in those[:3]), ahead_share=share)
            who = " and ".join(_who(evidence, name, cpu, worst.tid) for name, _ in those[:3])
            sentence += f", {percent(share)} of that time behind {who}"
            return "shared", numbers, sentence
    if ahead:
        numbers["ahead"] = ", ".join(name for name, _ in ahead[:3])
        sentence += f", most of that time behind {numbers['ahead']}"
    if thread is not None and _bound_but_not_isolated(evidence, thread):
        return "unisolated", numbers, f"{sentence}; it is bound, but its CPUs are not isolated"
    return "queued", numbers, sentence


def _bound_but_not_isolated(evidence: Evidence, thread: Thread) -> bool:
    cpus = [cpu for cpu in evidence.topology.cpus if cpu.online]
    own = [cpu for cpu in cpus if cpu.number in thread.cpus]
    return len(own) < len(cpus) and not all(cpu.isolated for cpu in own)


def _who(evidence: Evidence, name: str, cpu: Optional[int], waiting: int) -> str:
    """A task by what it is to the host, where that is known; never the thread that waited."""
    known = [
        f"{title} of {domain.name}"
        for domain in evidence.topology.domains
        for title, thread in _threads(domain)
        if thread.name == name and thread.tid != waiting and cpu in _where(evidence, thread)
    ]
    if known:
        return f"{' or '.join(known[:3])} ({name})"
    for task in evidence.neighbours(cpu) if cpu is not None else ():
        if task.name == name and task.tid != waiting:
            return f"{name} (tid {task.tid}, {percent(task.run_share)} of that CPU)"
    return name


def _vcpu_names(evidence: Evidence) -> set[str]:
    """What threads that are vCPUs are called."""
    vcpus = (vcpu for domain in evidence.topology.domains for vcpu in domain.vcpus)
    return {vcpu.thread.name for vcpu in vcpus if vcpu.thread is not None}


def _threads(domain: Domain) -> Iterator[tuple[str, Thread]]:
    for vcpu in domain.vcpus:
        if vcpu.thread is not None:
            yield f"vCPU {vcpu.number}", vcpu.thread
    for worker in domain.workers:
        yield f"vhost worker {worker.thread.tid}", worker.thread


def _where(evidence: Evidence, thread: Thread) -> tuple[Optional[int], ...]:
    """The only CPU that it may run on, or where it was seen."""
    if len(thread.cpus) == 1:
        return thread.cpus
    rate = evidence.rates.threads.get(thread.tid) if evidence.rates else None
    return (thread.cpu, rate.cpu if rate else None)
