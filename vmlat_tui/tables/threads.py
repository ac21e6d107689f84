"""vhost workers and vCPUs: where they run, what they wait for, what they do about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Optional

from vmlat_tui.analysis.placement import cpu_list, node_of
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.rates import NeighbourRate, Rates, ThreadRate
from vmlat_tui.model.topology import Domain, Thread, Topology, Worker
from vmlat_tui.model.wakeups import Halts, Wakeups
from vmlat_tui.session import counted, wakes, window
from vmlat_tui.session.snapshot import Place
from vmlat_tui.session.window import Span
from vmlat_tui.tables.evidence import INTERVALS, rates_over
from vmlat_tui.words import clean


@dataclass(frozen=True)
class Look:
    """What is known of the threads of a VM over a span of ``seconds``.

    ``recent`` is what ``rates`` can be compared with: wake-ups a second over the same time.
    """

    topology: Topology
    domain: Domain
    rates: Optional[Rates]
    woken: Mapping[int, Wakeups]
    seconds: float
    recent: Mapping[int, float]

    @cached_property
    def vcpus(self) -> list[ThreadRow]:
        """The VM's vCPUs whose threads are known."""
        vcpus = self.domain.vcpus
        return [_row(self, f"vCPU {v.number}", v.thread) for v in vcpus if v.thread]

    @cached_property
    def vcpus_woken(self) -> Optional[Wakeups]:
        """All vCPUs' wake-ups together."""
        return together(self.vcpus)


def look(
    place: Place, domain: Domain, tap: str, span: Span, mark_ns: Optional[int] = None
) -> Optional[Look]:
    """At the VM that owns a vNIC; None where nothing was discovered."""
    topology = place.now.topology
    if topology is None:
        return None
    tids = {w.thread.tid for w in domain.workers}
    tids |= {v.thread.tid for v in domain.vcpus if v.thread}
    woken = counted.wakeups(place, tids, span, mark_ns)
    seconds = counted.seconds(place, span, mark_ns)
    near, near_s = woken, seconds
    if len(window.stretch(place, span, mark_ns)) > INTERVALS:
        near = counted.wakeups(place, tids, Span.MINUTE)
        near_s = counted.seconds(place, Span.MINUTE)
    return Look(
        topology,
        domain,
        rates_over(place, domain, tap, span, mark_ns),
        woken,
        seconds,
        {tid: row.count / near_s for tid, row in near.items() if near_s},
    )


@dataclass(frozen=True)
class ThreadRow:
    """A vhost worker or a vCPU of a VM; ``woken`` is of ``seconds``, None if nothing was counted.

    ``packets`` are those of one wake-up, None where they cannot be told from other workers'.
    """

    title: str
    thread: Thread
    cpu: Optional[int]
    node: Optional[int]
    #: Its node is another than that of the VM's memory.
    far: bool
    online: int
    rate: Optional[ThreadRate]
    others: tuple[NeighbourRate, ...]
    woken: Optional[Wakeups]
    seconds: float
    packets: Optional[float] = None

    @property
    def key(self) -> int:
        """Identity."""
        return self.thread.tid

    @property
    def switches(self) -> Optional[float]:
        """Context switches a second, of both kinds."""
        if self.rate is None or self.rate.voluntary is None:
            return None
        return self.rate.voluntary + (self.rate.involuntary or 0)

    @property
    def affinity(self) -> str:
        """The CPUs that it may run on."""
        return "any" if len(self.thread.cpus) >= self.online else cpu_list(self.thread.cpus)

    @property
    def company(self) -> Optional[str]:
        """Who else ran on its CPU, the busiest first."""
        busy = [task for task in self.others if task.run_share >= 0.0005]
        if not busy:
            return None
        return ", ".join(f"{clean(t.name)} {100 * t.run_share:.1f}%" for t in busy[:3])

    @property
    def queued(self) -> Histogram:
        """Wake-ups that waited for another task."""
        return self.woken.queued if self.woken else Histogram()

    @property
    def idle(self) -> Histogram:
        """Wake-ups that waited for the CPU to leave its idle state."""
        return self.woken.idle if self.woken else Histogram()

    @property
    def halts(self) -> Optional[Halts]:
        """How its halts ended."""
        return self.woken.halts if self.woken else None

    def per_second(self, count: Optional[int]) -> Optional[float]:
        """Of a count over the span."""
        return count / self.seconds if count is not None and self.seconds else None


def worker_rows(seen: Look) -> list[ThreadRow]:
    """The VM's vhost workers."""
    return [
        _row(seen, ",".join(map(clean, w.queues)) or "?", w.thread, _packets(seen, w))
        for w in seen.domain.workers
    ]


def _row(seen: Look, title: str, thread: Thread, packets: Optional[float] = None) -> ThreadRow:
    rates, domain = seen.rates, seen.domain
    own = {w.thread.tid for w in domain.workers} | {v.thread.tid for v in domain.vcpus if v.thread}
    rate = rates.threads.get(thread.tid) if rates else None
    cpu = rate.cpu if rate and rate.cpu is not None else thread.cpu
    node = node_of(seen.topology, cpu)
    others = rates.neighbours.get(cpu, ()) if rates and cpu is not None else ()
    return ThreadRow(
        title,
        thread,
        cpu,
        node,
        bool(domain.memory_nodes) and node is not None and node not in domain.memory_nodes,
        sum(cpu.online for cpu in seen.topology.cpus),
        rate,
        tuple(task for task in others if task.tid not in own),
        seen.woken.get(thread.tid),
        seen.seconds,
        packets,
    )


def _taps(worker: Worker) -> set[str]:
    return {queue.rpartition("/")[0] for queue in worker.queues}


def _packets(seen: Look, worker: Worker) -> Optional[float]:
    """Packets of a wake-up, by the counters of the worker's taps.

    Not by the legs: those are of the filter's packets, and wake-ups are for all.  A tap has no
    counters for each queue, so of several workers none gets a figure.
    """
    taps, wakes = _taps(worker), seen.recent.get(worker.thread.tid)
    others = [_taps(other) for other in seen.domain.workers if other is not worker]
    shared = any(not theirs or theirs & taps for theirs in others)
    if not taps or shared or not wakes or seen.rates is None:
        return None
    links = [seen.rates.interfaces.get(tap) for tap in taps]
    packets = [link["rx_packets"] + link["tx_packets"] for link in links if link]
    return sum(packets) / wakes if len(packets) == len(taps) else None


def together(rows: Collection[ThreadRow]) -> Optional[Wakeups]:
    """The wake-ups of some threads as if they were one's; without a window, which each has."""
    given = [row.woken for row in rows if row.woken]
    if not given:
        return None
    whole = wakes.together(given[0].tid, (wakes.woken(None, one) for one in given))
    assert whole is not None
    halts = whole.halts
    if halts is not None and len(given) > 1:
        halts = replace(halts, window_ns=None)
    return replace(whole, vm_interface=None, halts=halts)


def surroundings(place: Place, domain: Domain, tap: Optional[str]) -> str:
    """The nodes that belong together: memory, vCPUs, NIC."""
    topology = place.now.topology
    if topology is None:
        return ""
    parts = []
    if domain.memory_nodes:
        parts.append(f"memory on node {','.join(map(str, domain.memory_nodes))}")
    vcpus = {node_of(topology, v.thread.cpu) for v in domain.vcpus if v.thread}
    parts.append(f"vCPUs on {','.join(sorted(str(n) for n in vcpus if n is not None)) or '?'}")
    for way in topology.ways:
        if way.tap == tap:
            for name in way.uplinks[:2]:
                nic = topology.interface(name)
                if nic is not None and nic.node is not None:
                    parts.append(f"{clean(name)} on {nic.node}")
    return " · ".join(parts)
