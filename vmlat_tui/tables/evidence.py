"""What the rules of findings look at, from a moment of a history and the span before it."""

from __future__ import annotations

from typing import Optional

from vmlat_tui.analysis.findings.evidence import Drop, Evidence
from vmlat_tui.model.points import BOTH, Direction
from vmlat_tui.model.rates import Rates
from vmlat_tui.model.topology import Domain, Thread
from vmlat_tui.session import counted, rates, window
from vmlat_tui.session.snapshot import Place
from vmlat_tui.session.window import Span

#: Readings of the fast counters, at one a second.
INTERVALS = 60


def evidence(
    place: Place, tap: str, span: Span, mark_ns: Optional[int] = None
) -> Optional[Evidence]:
    """Of one vNIC; None where nothing is measured, or no VM is known to own it."""
    topology = place.now.topology
    domain = topology.domain_of(tap) if topology else None
    if topology is None or domain is None or place.now.stats is None:
        return None
    tids = {thread.tid for thread in _threads(domain)}
    # The probes may know a worker that discovery has not found.
    tids |= counted.workers(place, tap)
    return Evidence(
        topology,
        domain,
        tap,
        window.histograms(place, tap, span, mark_ns),
        {d: counted.absences(place, tap, d.id, span, mark_ns) for d in BOTH},
        counted.wakeups(place, tids, span, mark_ns),
        tuple(
            Drop(Direction[direction.upper()], point, reason, function, packets)
            for (direction, _, point, reason, function), packets in counted.drops(
                place, tap, span, mark_ns
            ).items()
        ),
        rates_over(place, domain, tap, span, mark_ns),
    )


def _threads(domain: Domain) -> list[Thread]:
    """Its workers and vCPUs."""
    return [w.thread for w in domain.workers] + [v.thread for v in domain.vcpus if v.thread]


def rates_over(
    place: Place, domain: Domain, tap: str, span: Span, mark_ns: Optional[int] = None
) -> Optional[Rates]:
    """The fast counters of the span, no more than the last minute of it; only what is of the VM,
    and of the CPUs (with their siblings) that it runs on: a host may have thousands of threads.

    Where nothing is measured, those of the last interval.
    """
    seen = (m.rates for m in window.stretch(place, span, mark_ns)[-INTERVALS:])
    intervals = list({id(one): one for one in seen if one is not None}.values())
    if not intervals and place.now.rates is not None:
        intervals = [place.now.rates]
    if not intervals:
        return None
    last = intervals[-1].threads
    tids = {thread.tid for thread in _threads(domain)}
    ran = {thread.cpu for thread in _threads(domain)}
    ran |= {last[tid].cpu for tid in tids if tid in last}
    topology = place.now.topology
    online = topology.cpus if topology else ()
    cpus = ran | {n for cpu in online if cpu.number in ran for n in cpu.siblings}
    tids |= {tid for tid, rate in last.items() if rate.cpu in cpus}

    taps = {vnic.tap for vnic in domain.vnics}

    def part(whole: Rates) -> Rates:
        return Rates(
            whole.t_ns,
            whole.seconds,
            {tid: whole.threads[tid] for tid in tids if tid in whole.threads},
            {cpu: tasks for cpu, tasks in whole.neighbours.items() if cpu in cpus},
            {name: halt for name, halt in whole.halt.items() if name == domain.name},
            {name: link for name, link in whole.interfaces.items() if name in taps},
            {cpu: idle for cpu, idle in whole.idle.items() if cpu in set(map(str, cpus))},
        )

    return rates.pooled([part(whole) for whole in intervals])
