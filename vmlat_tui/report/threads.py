"""The tables of vhost workers with vCPUs, and of halt polling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.analysis.placement import cpu_list, node_of
from vmlat_tui.model.rates import HaltRate, NeighbourRate, ThreadRate
from vmlat_tui.model.topology import Domain, Thread, Topology
from vmlat_tui.report.columns import COUNT, NAME, PERCENT, RATE, SPARK, TEXT, TIME, Column
from vmlat_tui.report.words import clean
from vmlat_tui.session.snapshot import Place

_TREND = 24


@dataclass(frozen=True)
class ThreadRow:
    """A vhost worker or a vCPU of a VM, where it runs and what it does."""

    title: str
    worker: bool
    thread: Thread
    cpu: Optional[int]
    node: Optional[int]
    #: Its node is another than that of the VM's memory.
    far: bool
    online: int
    rate: Optional[ThreadRate]
    others: tuple[NeighbourRate, ...]

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


def thread_rows(place: Place, domain: Domain) -> list[ThreadRow]:
    """Workers first, then vCPUs."""
    topology = place.now.topology
    return list(_threads(place, topology, domain)) if topology else []


def _threads(place: Place, topology: Topology, domain: Domain) -> Iterator[ThreadRow]:
    rates = place.now.rates
    online = sum(cpu.online for cpu in topology.cpus)
    threads = [(_queues(w.queues), True, w.thread) for w in domain.workers]
    threads += [(f"vCPU {v.number}", False, v.thread) for v in domain.vcpus if v.thread]
    own = {thread.tid for _, _, thread in threads}
    for title, worker, thread in threads:
        rate = rates.threads.get(thread.tid) if rates else None
        cpu = rate.cpu if rate and rate.cpu is not None else thread.cpu
        node = node_of(topology, cpu)
        others = rates.neighbours.get(cpu, ()) if rates and cpu is not None else ()
        far = bool(domain.memory_nodes) and node is not None and node not in domain.memory_nodes
        yield ThreadRow(
            title,
            worker,
            thread,
            cpu,
            node,
            far,
            online,
            rate,
            tuple(task for task in others if task.tid not in own),
        )


def _queues(queues: tuple[str, ...]) -> str:
    return f"vhost {','.join(map(clean, queues))}" if queues else "vhost"


THREAD_COLUMNS: tuple[Column[ThreadRow], ...] = (
    Column("title", "thread", 13, TEXT, lambda r: r.title, 0, 16),
    Column("tid", "tid", 7, TEXT, lambda r: str(r.thread.tid), 5),
    Column("cpu", "CPU", 3, COUNT, lambda r: r.cpu, 0),
    Column("node", "node", 4, TEXT, lambda r: _node(r), 1,
           role=lambda r: "bad" if r.far else "", help="NUMA node; ≠ is not where the memory is"),
    Column("affinity", "may run", 7, TEXT, lambda r: r.affinity, 4, 12),
    Column("use", "use", 6, PERCENT, lambda r: r.rate.run_share if r.rate else None, 1,
           help="of one CPU"),
    Column("wait", "wait", 6, PERCENT, lambda r: r.rate.waited_share if r.rate else None, 2,
           help="time ready to run, waiting for a CPU"),
    Column("switches", "cs/s", 6, RATE, lambda r: r.switches, 3,
           help="context switches a second"),
    Column("company", "also on that CPU", 15, TEXT, lambda r: r.company, 6, 60),
)  # fmt: skip


def _node(row: ThreadRow) -> Optional[str]:
    if row.node is None:
        return None
    return f"{row.node} ≠" if row.far else str(row.node)


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


@dataclass(frozen=True)
class HaltRow:
    """One kind of what a halted vCPU did."""

    title: str
    per_second: float
    share: Optional[float]
    mean_ns: Optional[float]
    trend: tuple[Optional[float], ...]

    @property
    def key(self) -> str:
        """Identity."""
        return self.title


def halt_rows(place: Place, domain: Domain) -> list[HaltRow]:
    """Attempted, successful, failed and invalid polls, and waits."""
    now = _halt(place, place.index, domain)
    if now is None:
        return []
    first = max(0, place.index - _TREND)
    past = [_halt(place, at, domain) for at in range(first, place.index + 1)]

    def trend(field: str) -> tuple[Optional[float], ...]:
        return tuple(getattr(halt, field) if halt else None for halt in past)

    def share(count: float) -> Optional[float]:
        return count / now.attempted if now and now.attempted else None

    return [
        HaltRow("attempted", now.attempted, None, None, trend("attempted")),
        HaltRow("successful", now.successful, share(now.successful), now.mean_success_ns,
                trend("successful")),
        HaltRow("failed", now.failed, share(now.failed), now.mean_fail_ns, trend("failed")),
        HaltRow("invalid", now.invalid, share(now.invalid), None, trend("invalid")),
        HaltRow("waits", now.wakeups, None, now.mean_wait_ns, trend("wakeups")),
    ]  # fmt: skip


def _halt(place: Place, at: int, domain: Domain) -> Optional[HaltRate]:
    rates = place.moments[at].rates
    return rates.halt.get(domain.name) if rates else None


HALT_COLUMNS: tuple[Column[HaltRow], ...] = (
    Column("title", "polls", 10, NAME, lambda r: r.title, 0),
    Column("rate", "per s", 6, RATE, lambda r: r.per_second, 0),
    Column("share", "share", 7, PERCENT, lambda r: r.share, 3, help="of the attempted polls"),
    Column("mean", "mean", 7, TIME, lambda r: r.mean_ns, 1, 9, help="how long each took"),
    Column("trend", "trend", 6, SPARK, lambda r: r.trend, 2, 24, lambda r: "spark"),
)  # fmt: skip


def halt_settings(place: Place) -> str:
    """KVM's parameters."""
    topology = place.now.topology
    if topology is None:
        return ""
    halt = topology.halt_polling
    if halt.halt_poll_ns is None:
        return "KVM's parameters are not visible"
    if not halt.halt_poll_ns:
        return "polling is off"
    grow = f"grow {halt.grow}" if halt.grow is not None else ""
    if grow and halt.grow_start_ns is not None:
        grow += f" from {halt.grow_start_ns / 1000:g} µs"
    shrink = f"shrink {halt.shrink}" if halt.shrink is not None else ""
    return ", ".join(filter(None, (f"max {halt.halt_poll_ns / 1000:g} µs", grow, shrink)))


def halt_use(place: Place, domain: Domain) -> str:
    """How much time goes into polling and waiting."""
    halt = _halt(place, place.index, domain)
    if halt is None:
        return ""
    return f"polling {100 * halt.poll_share:.1f} % of a CPU · waiting {100 * halt.wait_share:.1f} %"
