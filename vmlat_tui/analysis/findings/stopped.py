"""A worker or vCPU that could not run because somebody had stopped it."""

from __future__ import annotations

from collections.abc import Iterator

from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Finding, Kind, Numbers, Severity, Sureness, found
from vmlat_tui.analysis.findings.spent import explained, waiting
from vmlat_tui.analysis.findings.words import percent, quantiles
from vmlat_tui.model.points import Direction
from vmlat_tui.model.wakeups import Role

_MEANING = (
    "A signal (SIGSTOP) or a debugger had stopped it. A stopped thread is not woken by what comes: "
    "packets wait until somebody lets it go on, and no wait for a CPU is counted. It is looked for "
    "as often as the counters are read: short stops are seen only if there are many."
)
_REMEDY = (
    "grep -E 'State|TracerPid' /proc/{tid}/status shows whether it is stopped (T), or traced (t) "
    "and by whom; kill -CONT {pid} lets QEMU go on. Look for what stops it: gdb, strace, gcore, "
    "scripts that send SIGSTOP to save CPU time or to take a snapshot."
)
KINDS = {
    Role.WORKER: Kind("worker-stopped", "worker was stopped", Severity.WRONG, _MEANING, _REMEDY),
    Role.VCPU: Kind("vcpu-stopped", "vCPU was stopped", Severity.WRONG, _MEANING, _REMEDY),
}
#: The legs in which nobody wakes a thread because it looks awake.
_LEGS = (
    (Direction.TX, Role.WORKER, "tx:guest_kick>vhost_tx"),
    (Direction.RX, Role.WORKER, "rx:tun_out>vhost_take"),
    (Direction.RX, Role.VCPU, "rx:irq_accept>guest_entry"),
)


def stopped(evidence: Evidence) -> Iterator[Finding]:
    """Packets that waited for a thread that was seen stopped, longer than code takes."""
    for direction, role, leg_id in _LEGS:
        tids = _tids(evidence, role)
        worst = max(tids, key=evidence.stopped, default=None)
        if worst is None or not evidence.stopped(worst):
            continue
        leg = evidence.leg(leg_id)
        time = explained(evidence, direction, (waiting(evidence, direction, leg),))
        if time is not None:
            share, pid = evidence.stopped(worst), evidence.domain.pid
            numbers: Numbers = {"tid": worst, "stopped_share": share}
            yield found(
                KINDS[role],
                f"{evidence.name(worst)} was stopped in {percent(share)} of the readings; packets "
                f"that nobody was woken for waited {quantiles(leg)}",
                Sureness.LIKELY,
                numbers if pid is None else {**numbers, "pid": pid},
                time,
                (leg_id,),
            )


def _tids(evidence: Evidence, role: Role) -> tuple[int, ...]:
    if role is Role.WORKER:
        return tuple(worker.thread.tid for worker in evidence.workers)
    return tuple(vcpu.thread.tid for vcpu in evidence.domain.vcpus if vcpu.thread)
