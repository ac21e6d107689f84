"""A stream in which the whole way is measured, and the wake-ups are taken apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.support.frames import wakeups_object
from tests.tui.streams import PATHS, Stream
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.legs import Leg
from vmlat_tui.model.points import Direction
from vmlat_tui.model.wakeups import Halts, Role, Wakeups
from vmlat_tui.protocol.migrations import Raw

WHOLE = {
    **PATHS,
    Direction.TX: (
        ("guest_kick", "ioeventfd_write", 0),
        ("vhost_woken", "sched_waking", 900),
        ("vhost_on_cpu", "sched_switch", 74_000),
        ("vhost_tx", "handle_tx_kick", 1_200),
        ("tun_in", "tun_sendmsg", 2_100),
        *PATHS[Direction.TX][1:],
    ),
}
#: Index of C6 in the table of :mod:`tests.tui.host`.
C6 = 1
_ROLES = {"vhost_on_cpu": Role.WORKER, "vcpu_on_cpu": Role.VCPU}


@dataclass
class Wakeful(Stream):
    """All threads are woken from C6, or, if ``ahead`` names one, workers wait for that task."""

    ahead: str = ""
    _waits: dict[tuple[str, Role], Histogram] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.paths = WHOLE

    def _count(self, key: tuple[str, Leg], value: int, weight: int) -> None:
        super()._count(key, value, weight)
        tap, leg = key
        role = _ROLES.get(leg.end.point.id) if leg.end else None
        if role is not None:
            one = Histogram()
            one.add(value)
            many = Histogram(weight, value * weight, value, dict.fromkeys(one.buckets, weight))
            self._waits.setdefault((tap, role), Histogram()).merge(many)

    def wakeups(self) -> list[dict[str, Any]]:
        """One row for each worker, and for the first vCPU of each VM."""
        rows = []
        for (tap, role), waits in self._waits.items():
            domain = self.host.domain_of(tap)
            assert domain is not None
            worker = role is Role.WORKER
            thread = domain.workers[0].thread if worker else domain.vcpus[0].thread
            assert thread is not None
            queued = worker and bool(self.ahead)
            rows.append(
                wakeups_object(
                    Wakeups(
                        thread.tid,
                        role,
                        idle=Histogram() if queued else waits,
                        queued=waits if queued else Histogram(),
                        migrations=0,
                        idle_states={} if queued else {C6: waits.count},
                        ahead_ns={self.ahead: waits.sum_ns} if queued else {},
                        vm_interface=tap if worker else None,
                        halts=None if worker else self.halts(waits.count),
                    )
                )
            )
        return rows

    def halts(self, slept: int) -> Halts:
        """Three halts of four are polled for successfully; the window changes thrice a reading."""
        grown, shrunk = 2 * self.tick, self.tick
        return Halts(3 * slept, 3 * slept * 21_000, slept, slept * 1_900_000, grown, shrunk, 50_000)

    def absences(self) -> list[dict[str, Any]]:
        """Some packets find the worker awake, some the vCPU polling."""
        return [
            {"vm_interface": tap, "direction": "rx", "reason": reason, "packets": self.tick * n}
            for tap in self.taps
            for reason, n in (("rx_worker_awake", 31), ("vcpu_polling", 17))
        ]

    def stats(self, final: bool = False) -> Raw:
        """With both."""
        frame = super().stats(final)
        return {**frame, "absences": self.absences(), "wakeups": self.wakeups()}
