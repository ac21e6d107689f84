"""Rates from the fast counters: the difference of two consecutive readings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Optional

from vmlat_tui.model.topology import Vitals


class ThreadRate(NamedTuple):
    """What a thread did: shares of one CPU's time, switches a second."""

    cpu: Optional[int]
    run_share: float
    waited_share: Optional[float]
    voluntary: Optional[float]
    involuntary: Optional[float]


class NeighbourRate(NamedTuple):
    """Another task on the CPU of a watched thread and the share of one CPU that it took."""

    tid: int
    name: str
    run_share: float


@dataclass(frozen=True)
class HaltRate:
    """KVM's halt polling of one VM.

    Counts are per second, ``poll_share`` and ``wait_share`` are of one CPU's time (all vCPUs
    added), means are per poll or wait of the interval and None if there was none.
    """

    attempted: float
    successful: float
    failed: float
    invalid: float
    wakeups: float
    poll_share: float
    wait_share: float
    mean_success_ns: Optional[float]
    mean_fail_ns: Optional[float]
    mean_wait_ns: Optional[float]

    @property
    def success_share(self) -> Optional[float]:
        """Of the attempted polls; None if there was none."""
        return self.successful / self.attempted if self.attempted else None


@dataclass(frozen=True)
class Rates:
    """Everything of one interval; ``interfaces`` is per second under the kernel's names."""

    t_ns: int
    seconds: float
    threads: Mapping[int, ThreadRate]
    neighbours: Mapping[int, tuple[NeighbourRate, ...]]
    halt: Mapping[str, HaltRate]
    interfaces: Mapping[str, Mapping[str, float]]
    idle: Mapping[str, Mapping[str, float]]


def between(before: Vitals, after: Vitals) -> Optional[Rates]:
    """Rates of the interval; None if no time passed.  A counter that began anew counts as 0."""
    seconds = (after.t_ns - before.t_ns) / 1e9
    if seconds <= 0:
        return None
    return Rates(
        after.t_ns,
        seconds,
        _threads(before, after, seconds),
        _neighbours(before, after, seconds),
        {
            name: _halt(before.halt[name], counters, seconds)
            for name, counters in after.halt.items()
            if name in before.halt
        },
        {
            name: {k: _grown(before.interfaces[name], c, k) / seconds for k in c}
            for name, c in after.interfaces.items()
            if name in before.interfaces
        },
        {
            cpu: {k: _grown(before.idle[cpu], c, k) / seconds / 1e6 for k in c}
            for cpu, c in after.idle.items()
            if cpu in before.idle
        },
    )


def _grown(before: Mapping[str, int], after: Mapping[str, int], key: str) -> int:
    return max(0, after.get(key, 0) - before.get(key, after.get(key, 0)))


def _rise(before: Optional[int], after: Optional[int]) -> Optional[int]:
    return None if before is None or after is None else max(0, after - before)


def _per_second(rise: Optional[int], seconds: float) -> Optional[float]:
    return None if rise is None else rise / seconds


def _threads(before: Vitals, after: Vitals, seconds: float) -> dict[int, ThreadRate]:
    known = {use.tid: use for use in before.threads}
    return {
        use.tid: ThreadRate(
            use.cpu,
            max(0, use.run_ns - old.run_ns) / seconds / 1e9,
            _per_second(_rise(old.waited_ns, use.waited_ns), seconds * 1e9),
            _per_second(_rise(old.voluntary, use.voluntary), seconds),
            _per_second(_rise(old.involuntary, use.involuntary), seconds),
        )
        for use in after.threads
        for old in (known.get(use.tid),)
        if old is not None
    }


def _neighbours(
    before: Vitals, after: Vitals, seconds: float
) -> dict[int, tuple[NeighbourRate, ...]]:
    known = {(n.cpu, n.tid): n.run_ns for n in before.neighbours}
    found: dict[int, list[NeighbourRate]] = {}
    for task in after.neighbours:
        # One that was not seen before may have run at any time: it counts from now on.
        run_ns = max(0, task.run_ns - known.get((task.cpu, task.tid), task.run_ns))
        found.setdefault(task.cpu, []).append(
            NeighbourRate(task.tid, task.name, run_ns / seconds / 1e9)
        )
    return {
        cpu: tuple(sorted(tasks, key=lambda task: (-task.run_share, task.tid)))
        for cpu, tasks in found.items()
    }


def _halt(before: Mapping[str, int], after: Mapping[str, int], seconds: float) -> HaltRate:
    def grown(key: str) -> int:
        return _grown(before, after, key)

    def mean(total: int, count: int) -> Optional[float]:
        return total / count if count else None

    attempted, successful = grown("halt_attempted_poll"), grown("halt_successful_poll")
    failed = max(0, attempted - successful)
    success_ns, fail_ns = grown("halt_poll_success_ns"), grown("halt_poll_fail_ns")
    wait_ns, wakeups = grown("halt_wait_ns"), grown("halt_wakeup")
    return HaltRate(
        attempted / seconds,
        successful / seconds,
        failed / seconds,
        grown("halt_poll_invalid") / seconds,
        wakeups / seconds,
        (success_ns + fail_ns) / seconds / 1e9,
        wait_ns / seconds / 1e9,
        mean(success_ns, successful),
        mean(fail_ns, failed),
        mean(wait_ns, wakeups),
    )
