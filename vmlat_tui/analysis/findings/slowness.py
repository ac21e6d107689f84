"""The worker's CPU runs slower than it could: a busy sibling, a governor that saves power."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Optional

from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Explained, Finding, Kind, Severity, Sureness, found
from vmlat_tui.analysis.findings.spent import explained
from vmlat_tui.analysis.findings.words import percent
from vmlat_tui.model.points import BOTH, Direction
from vmlat_tui.model.topology import Cpu

#: Both threads of a core get about half of it at least, and a clock at half its rate doubles the
#: time: at most half of what the worker does itself is for either.
SLOWED = 0.5
#: A sibling that ran less is none that matters.
_BUSY = 0.2
#: A CPU that is busier than that is not slowed by a governor.
_IDLE = 0.5

#: What the worker itself does up to these points, in each direction; each packet passes one leg
#: that ends there.
_WORK = {
    Direction.TX: ("tun_in", "vnet_rx", "switch_in", "ovs_dp", "switch_out", "phy_queue"),
    Direction.RX: ("vhost_signal", "eventfd", "irqfd", "irq_accept"),
}
#: These are waiting, whatever they end in.
_NOT_WORK = frozenset({"guest_kick", "ovs_upcall", "ovs_reinject"})

SIBLING = Kind(
    "worker-busy-sibling", "worker beside a busy sibling", Severity.SUSPECT,
    "Two hardware threads share one core: while the other one is busy, whatever the worker does "
    "takes longer.",
    "Give the worker a core whose other thread is idle: cat /sys/devices/system/cpu/cpu{cpu}/"
    "topology/thread_siblings_list; taskset -pc {tid}.",
)  # fmt: skip
GOVERNOR = Kind(
    "governor", "governor saves power", Severity.NOTE,
    "The governor lets the clock of a CPU that is mostly idle drop, and a worker that runs for "
    "microseconds at a time never brings it up. How fast it ran is not measured.",
    "cpupower -c {cpu} frequency-info shows the clock; cpupower frequency-set -g performance (or "
    "tuned's latency-performance) keeps it up. It costs power.",
)  # fmt: skip


def slowness(evidence: Evidence) -> Iterator[Finding]:
    """Both, for the first worker that it is true of."""
    sibling: Sequence[Finding] = ()
    governor: Sequence[Finding] = ()
    for worker in evidence.workers:
        tid = worker.thread.tid
        cpu = evidence.cpu(evidence.cpu_of(tid))
        if cpu is not None:
            sibling = sibling or list(_sibling(evidence, tid, cpu))
            governor = governor or list(_governor(evidence, tid, cpu))
    yield from sibling
    yield from governor


def _work(evidence: Evidence, direction: Direction, factor: float) -> Optional[Explained]:
    parts = [evidence.leg(*_legs(evidence, direction, point)) for point in _WORK[direction]]
    return explained(evidence, direction, parts, factor)


def _legs(evidence: Evidence, direction: Direction, *points: str) -> tuple[str, ...]:
    ids = evidence.ids(direction, ends=points)
    return tuple(id_ for id_ in ids if id_.partition(":")[2].partition(">")[0] not in _NOT_WORK)


def _sibling(evidence: Evidence, tid: int, cpu: Cpu) -> Iterator[Finding]:
    busiest = max(
        ((share, who, number) for number in cpu.siblings if number != cpu.number
         for share, who in _busy(evidence, number)),
        default=None,
    )  # fmt: skip
    if busiest is None or busiest[0] < _BUSY:
        return
    share, who, number = busiest
    for direction in BOTH:
        time = _work(evidence, direction, SLOWED * min(1.0, share))
        if time is not None:
            yield found(
                SIBLING,
                f"vhost worker {tid} on CPU {cpu.number} shares a core with CPU {number}, of which"
                f" {who} used {percent(share)}",
                Sureness.POSSIBLE,
                {"tid": tid, "cpu": cpu.number, "sibling": number, "use": share, "task": who},
                time,
                _legs(evidence, direction, *_WORK[direction]),
            )


def _busy(evidence: Evidence, cpu: int) -> Iterator[tuple[float, str]]:
    rates = evidence.rates
    for tid, rate in rates.threads.items() if rates else ():
        if rate.cpu == cpu:
            yield rate.run_share, _title(evidence, tid)
    for task in evidence.neighbours(cpu):
        yield task.run_share, task.name


def _title(evidence: Evidence, tid: int) -> str:
    for domain in evidence.topology.domains:
        for vcpu in domain.vcpus:
            if vcpu.thread and vcpu.thread.tid == tid:
                return f"vCPU {vcpu.number} of {domain.name}"
    return f"thread {tid}"


def _governor(evidence: Evidence, tid: int, cpu: Cpu) -> Iterator[Finding]:
    use = evidence.use(tid)
    if cpu.governor in (None, "performance", "userspace") or use is None or use > _IDLE:
        return
    for direction in BOTH:
        time = _work(evidence, direction, SLOWED)
        if time is not None:
            yield found(
                GOVERNOR,
                f"the governor of CPU {cpu.number} is {cpu.governor}, and vhost worker {tid} uses"
                f" {percent(use)} of it",
                Sureness.POSSIBLE,
                {"tid": tid, "cpu": cpu.number, "governor": cpu.governor or "", "use": use},
                time,
                _legs(evidence, direction, *_WORK[direction]),
            )
