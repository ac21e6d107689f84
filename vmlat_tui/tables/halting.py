"""Halt polling of a VM: how often it pays, and what it costs where it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from vmlat_tui.model.rates import HaltRate
from vmlat_tui.model.topology import Domain
from vmlat_tui.session.snapshot import Place
from vmlat_tui.tables.columns import NAME, PERCENT, RATE, SPARK, TIME, Column
from vmlat_tui.tables.threads import Look

_TREND = 24


@dataclass(frozen=True)
class HaltRow:
    """One kind of what a halted vCPU did."""

    title: str
    per_second: float
    share: Optional[float]
    mean_ns: Optional[float]
    trend: tuple[Optional[float], ...] = ()

    @property
    def key(self) -> str:
        """Identity."""
        return self.title


def halt_rows(place: Place, seen: Look) -> list[HaltRow]:
    """Hits, misses and what follows a miss: sleeping, and waking."""
    now = seen.rates.halt.get(seen.domain.name) if seen.rates else None
    if now is None:
        return []
    first = max(0, place.index - _TREND)
    past = [_halt(place, at, seen.domain) for at in range(first, place.index + 1)]

    def trend(field: str) -> tuple[Optional[float], ...]:
        return tuple(getattr(halt, field) if halt else None for halt in past)

    def share(count: float) -> Optional[float]:
        return count / now.attempted if now and now.attempted else None

    rows = [
        HaltRow("hits", now.successful, now.success_share, now.mean_success_ns,
                trend("successful")),
        # Kernels without these times give 0.
        HaltRow("misses", now.failed, share(now.failed), now.mean_fail_ns or None,
                trend("failed")),
        HaltRow("then sleep", now.wakeups, None, now.mean_wait_ns or None, trend("wakeups")),
    ]  # fmt: skip
    woken = seen.vcpus_woken
    if woken is not None and woken.count and seen.seconds:
        rows.append(HaltRow("then wake", woken.count / seen.seconds, None, _waking_ns(seen)))
    return [*rows, HaltRow("invalid", now.invalid, share(now.invalid), None, trend("invalid"))]


def _waking_ns(seen: Look) -> Optional[float]:
    """Mean time from waking to running of the VM's vCPUs."""
    woken = seen.vcpus_woken
    if woken is None or not woken.count:
        return None
    return (woken.idle.sum_ns + woken.queued.sum_ns) / woken.count


def _halt(place: Place, at: int, domain: Domain) -> Optional[HaltRate]:
    rates = place.moments[at].rates
    return rates.halt.get(domain.name) if rates else None


HALT_COLUMNS: tuple[Column[HaltRow], ...] = (
    Column("title", "polls", 10, NAME, lambda r: r.title, 0),
    Column("rate", "per s", 6, RATE, lambda r: r.per_second, 0),
    Column("share", "share", 7, PERCENT, lambda r: r.share, 0, help="of the attempted polls"),
    Column("mean", "mean", 7, TIME, lambda r: r.mean_ns, 0, 9,
           help="how long each took: a miss burns it, a hit saves the wake that follows a miss"),
    Column("trend", "trend", 6, SPARK, lambda r: r.trend, 2, 24, lambda r: "spark"),
)  # fmt: skip


def _us(ns: float) -> str:
    return f"{ns / 1000:.4g} µs"


def halt_lines(place: Place, seen: Look) -> list[str]:
    """Hit rate, window, what a miss costs: a line each."""
    halt = seen.rates.halt.get(seen.domain.name) if seen.rates else None
    return [_hit_rate(halt), halt_settings(place), windows(seen), _miss(seen, halt)]


def _hit_rate(halt: Optional[HaltRate]) -> str:
    if halt is None or halt.success_share is None:
        return "no poll" if halt else ""
    polling = f"polling uses {100 * halt.poll_share:.1f} % CPU"
    return f"hit rate {100 * halt.success_share:.1f} %, {polling}"


def windows(seen: Look) -> str:
    """The windows of the vCPUs as they are now."""
    halts = {row.title.partition(" ")[2]: row.halts for row in seen.vcpus if row.halts}
    known = [
        f"{number}: {_us(one.window_ns)}"
        for number, one in halts.items()
        if one.window_ns is not None
    ]
    if known:
        return f"window of vCPU {', '.join(known)}"
    return "window now: no change seen yet" if halts else "window now: not known"


def _miss(seen: Look, halt: Optional[HaltRate]) -> str:
    waking_ns = _waking_ns(seen)
    costs = [f"{_us(halt.mean_fail_ns)} CPU"] if halt and halt.mean_fail_ns else []
    costs += [f"{_us(waking_ns)} to wake"] if waking_ns is not None else []
    return f"a miss: {' + '.join(costs)}" if costs else ""


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
