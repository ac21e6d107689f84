"""Workers and vCPUs that may run anywhere, and do."""

from __future__ import annotations

from collections.abc import Iterator

from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Finding, Kind, Severity, Sureness, found
from vmlat_tui.analysis.findings.spent import explained, slowest
from vmlat_tui.analysis.findings.wakes import wakes
from vmlat_tui.analysis.findings.words import percent
from vmlat_tui.model.wakeups import Role

#: Rarer moves are the scheduler's everyday work.
_OFTEN = 0.05

_MEANING = (
    "After a move caches are cold, and the CPU that was chosen may have to leave a deep idle "
    "state. Which wake-ups were slow for that is not counted: at most the slowest of them."
)
_REMEDY = "Bind it to one CPU, or to few of one node: taskset -pc {tid}; in libvirt {pin}."
KINDS = {
    Role.VCPU: Kind("vcpu-migrates", "vCPU migrates", Severity.SUSPECT, _MEANING, _REMEDY),
    Role.WORKER: Kind("worker-migrates", "worker migrates", Severity.NOTE, _MEANING, _REMEDY),
}
_PINS = {Role.VCPU: "vcpupin", Role.WORKER: "emulatorpin"}


def migrating(evidence: Evidence) -> Iterator[Finding]:
    """As many of the slowest wake-ups as had a move, of threads that are not bound."""
    for wake in wakes(evidence):
        free = [
            row
            for row in wake.rows
            for thread in (evidence.thread(row.tid),)
            if thread is not None and len(thread.cpus) > 1
        ]
        moves = sum(row.migrations for row in free)
        count = sum(row.count for row in wake.rows)
        if not free or moves < _OFTEN * count:
            continue
        part = slowest(wake.leg, min(1.0, moves / count))
        time = explained(evidence, wake.direction, (part,))
        if time is not None:
            worst = max(free, key=lambda row: row.migrations)
            thread = evidence.thread(worst.tid)
            cpus = len(thread.cpus) if thread else 0
            yield found(
                KINDS[wake.role],
                f"{evidence.name(worst.tid)} may run on {cpus} CPUs and was on another one"
                f" than before after {percent(worst.migrations / worst.count)} of {worst.count}"
                " wake-ups",
                Sureness.POSSIBLE,
                {"tid": worst.tid, "migrations": worst.migrations, "wakeups": worst.count,
                 "pin": _PINS[wake.role]},
                time,
                (wake.leg_id,),
            )  # fmt: skip
