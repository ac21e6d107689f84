"""Findings: what is slow, why, how sure that is, and what to check.

The rules are functions from :class:`.evidence.Evidence` to findings; each appears only if the time
that it explains matters (:func:`.spent.material`).  What stands out from placement and settings
before anything is measured is in :mod:`.static`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vmlat_tui.analysis.findings import (
    distance,
    halting,
    idle,
    migrating,
    queues,
    slowness,
    stopped,
    waits,
    wire,
)
from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Finding, Sureness

RULES: tuple[Callable[[Evidence], Iterable[Finding]], ...] = (
    waits.run_queue,
    stopped.stopped,
    idle.deep_idle,
    idle.vhost_polling,
    halting.halt_polling,
    migrating.migrating,
    distance.memory,
    distance.nic,
    slowness.slowness,
    queues.upcalls,
    queues.ring,
    queues.one_queue,
    wire.gro,
    wire.qdisc,
    wire.bond,
    wire.offloads,
)


def judge(evidence: Evidence) -> list[Finding]:
    """Everything that matters about one vNIC: what explains most time of a packet first.

    What is only possible comes after what is known: its time is the most that it can be.
    """
    every = [finding for rule in RULES for finding in rule(evidence)]
    return sorted(every, key=_rank)


def _rank(finding: Finding) -> tuple[bool, float, int, int]:
    return (
        finding.sureness is Sureness.POSSIBLE,
        -finding.explained.mean_ns if finding.explained else 0.0,
        -finding.sureness,
        -finding.severity,
    )
