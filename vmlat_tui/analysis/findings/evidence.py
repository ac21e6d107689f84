"""Everything that the rules look at: values of one vNIC over one span."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.points import Direction
from vmlat_tui.model.rates import HaltRate, NeighbourRate, Rates
from vmlat_tui.model.topology import Cpu, Domain, Interface, Thread, Topology, Vnic, Way, Worker
from vmlat_tui.model.wakeups import Role, Wakeups


class Drop(NamedTuple):
    """Packets that ended at one place for one reason."""

    direction: Direction
    point: str
    reason: Optional[str]
    function: Optional[str]
    packets: int


@dataclass(frozen=True)
class Evidence:
    """What is known of the vNIC ``tap`` of ``domain``.

    ``legs`` holds leg id -> all packets of the span, the totals among them; ``absences`` direction
    -> reason -> packets; ``wakeups`` those of all watched threads by tid; ``rates`` the fast
    counters over the span, None where there are none.
    """

    topology: Topology
    domain: Domain
    tap: str
    legs: Mapping[str, Histogram]
    absences: Mapping[Direction, Mapping[str, int]] = field(default_factory=dict)
    wakeups: Mapping[int, Wakeups] = field(default_factory=dict)
    drops: tuple[Drop, ...] = ()
    rates: Optional[Rates] = None

    # ---- legs -------------------------------------------------------------------------------

    def total(self, direction: Direction) -> Histogram:
        """The whole way."""
        return self.legs.get(f"{direction.id}:total", Histogram())

    def ids(
        self,
        direction: Direction,
        starts: Optional[Iterable[str]] = None,
        ends: Optional[Iterable[str]] = None,
    ) -> tuple[str, ...]:
        """Legs that packets passed, from any of these points to any of those; None: whichever."""
        first = None if starts is None else frozenset(starts)
        last = None if ends is None else frozenset(ends)
        return tuple(
            leg_id
            for leg_id in self.legs
            for way, _, points in (leg_id.partition(":"),)
            for start, arrow, end in (points.partition(">"),)
            if way == direction.id
            and arrow
            and (first is None or start in first)
            and (last is None or end in last)
        )

    def leg(self, *ids: str) -> Histogram:
        """Some legs as one; exact where a packet passes at most one of them."""
        together = Histogram()
        for id_ in ids:
            together.merge(self.legs.get(id_, Histogram()))
        return together

    # ---- threads ----------------------------------------------------------------------------

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The vhost workers of this vNIC; all of the VM's where that is not known."""
        every = self.domain.workers
        own = [w for w in every if any(q.startswith(f"{self.tap}/") for q in w.queues)]
        return tuple(own) or every

    def woken(self, role: Role) -> tuple[Wakeups, ...]:
        """Wake-ups of this vNIC's workers or this VM's vCPUs, the most often woken first."""
        if role is Role.WORKER:
            tids = {worker.thread.tid for worker in self.workers}
            named = {w.tid for w in self.wakeups.values() if w.vm_interface == self.tap}
            tids = named or tids
        else:
            tids = {vcpu.thread.tid for vcpu in self.domain.vcpus if vcpu.thread}
        rows = [w for w in self.wakeups.values() if w.role is role and w.tid in tids and w.count]
        return tuple(sorted(rows, key=lambda w: (-w.count, w.tid)))

    def thread(self, tid: int) -> Optional[Thread]:
        """A worker or vCPU of the VM."""
        threads = [w.thread for w in self.domain.workers]
        threads += [v.thread for v in self.domain.vcpus if v.thread]
        return next((thread for thread in threads if thread.tid == tid), None)

    def name(self, tid: int) -> str:
        """What to call a worker or vCPU of the VM."""
        for vcpu in self.domain.vcpus:
            if vcpu.thread and vcpu.thread.tid == tid:
                return f"vCPU {vcpu.number}"
        return f"vhost worker {tid}"

    def cpu_of(self, tid: int) -> Optional[int]:
        """Where a thread ran last."""
        rate = self.rates.threads.get(tid) if self.rates else None
        if rate is not None and rate.cpu is not None:
            return rate.cpu
        thread = self.thread(tid)
        return thread.cpu if thread else None

    def use(self, tid: int) -> Optional[float]:
        """Share of one CPU that a thread used."""
        rate = self.rates.threads.get(tid) if self.rates else None
        return rate.run_share if rate else None

    def stopped(self, tid: int) -> float:
        """Share of the readings that found a thread stopped."""
        rate = self.rates.threads.get(tid) if self.rates else None
        return rate.stopped if rate else 0.0

    def neighbours(self, cpu: int) -> tuple[NeighbourRate, ...]:
        """Tasks on a CPU, the busiest first."""
        return self.rates.neighbours.get(cpu, ()) if self.rates else ()

    # ---- host -------------------------------------------------------------------------------

    @property
    def vnic(self) -> Optional[Vnic]:
        """The vNIC."""
        return next((v for v in self.domain.vnics if v.tap == self.tap), None)

    @property
    def way(self) -> Optional[Way]:
        """From the tap to the wire."""
        return next((way for way in self.topology.ways if way.tap == self.tap), None)

    @property
    def uplinks(self) -> tuple[Interface, ...]:
        """The interfaces at the end of the way."""
        names = self.way.uplinks if self.way else ()
        return tuple(i for i in map(self.topology.interface, names) if i is not None)

    def cpu(self, number: Optional[int]) -> Optional[Cpu]:
        """A CPU of the host."""
        return next((c for c in self.topology.cpus if c.number == number), None)

    @property
    def halt(self) -> Optional[HaltRate]:
        """KVM's halt polling of the VM."""
        return self.rates.halt.get(self.domain.name) if self.rates else None
