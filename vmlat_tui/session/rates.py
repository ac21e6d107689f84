"""Rates from the fast counters: the difference of two readings, and intervals put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Optional

from vmlat_tui.model.rates import HaltRate, NeighbourRate, Rates, ThreadRate
from vmlat_tui.model.topology import Vitals


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
            float(use.stopped),
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


# ---- several intervals as one -----------------------------------------------------------------


def pooled(intervals: Sequence[Rates]) -> Optional[Rates]:
    """Consecutive intervals, oldest first, as if they were one; None if there is none.

    A thread, VM or interface that is gone at the end is left out; a CPU is where it was last.
    """
    if len(intervals) < 2:
        return intervals[0] if intervals else None
    last = intervals[-1]
    return Rates(
        last.t_ns,
        sum(rates.seconds for rates in intervals),
        {tid: _thread(intervals, tid, rate) for tid, rate in last.threads.items()},
        {cpu: _neighbours_of(intervals, cpu) for cpu in last.neighbours},
        {name: _halts(intervals, name) for name in last.halt},
        {
            name: {key: _mean((r.seconds, r.interfaces.get(name, {}).get(key)) for r in intervals)
                   for key in counters}
            for name, counters in last.interfaces.items()
        },
        {
            cpu: {key: _mean((r.seconds, r.idle.get(cpu, {}).get(key)) for r in intervals)
                  for key in states}
            for cpu, states in last.idle.items()
        },
    )  # fmt: skip


def _mean(values: Iterator[tuple[float, Optional[float]]]) -> float:
    """Weighted; what is not known does not count."""
    known = [(weight, value) for weight, value in values if value is not None]
    whole = sum(weight for weight, _ in known)
    return sum(weight * value for weight, value in known) / whole if whole else 0.0


def _thread(intervals: Sequence[Rates], tid: int, last: ThreadRate) -> ThreadRate:
    seen = [(r.seconds, r.threads[tid]) for r in intervals if tid in r.threads]

    def mean(known: Optional[float], field: str) -> Optional[float]:
        return None if known is None else _mean((s, getattr(rate, field)) for s, rate in seen)

    return ThreadRate(
        last.cpu,
        _mean((s, rate.run_share) for s, rate in seen),
        mean(last.waited_share, "waited_share"),
        mean(last.voluntary, "voluntary"),
        mean(last.involuntary, "involuntary"),
        sum(rate.stopped for _, rate in seen) / len(seen),
    )


def _neighbours_of(intervals: Sequence[Rates], cpu: int) -> tuple[NeighbourRate, ...]:
    """A task that was not seen in an interval did nothing in it."""
    whole = sum(rates.seconds for rates in intervals)
    ran_s: dict[tuple[int, str], float] = {}
    for rates in intervals:
        for task in rates.neighbours.get(cpu, ()):
            key = (task.tid, task.name)
            ran_s[key] = ran_s.get(key, 0.0) + task.run_share * rates.seconds
    tasks = (NeighbourRate(tid, name, ran / whole) for (tid, name), ran in ran_s.items())
    return tuple(sorted(tasks, key=lambda task: (-task.run_share, task.tid)))


def _halts(intervals: Sequence[Rates], name: str) -> HaltRate:
    seen = [(r.seconds, r.halt[name]) for r in intervals if name in r.halt]

    def mean(field: str) -> float:
        return _mean((s, getattr(halt, field)) for s, halt in seen)

    def each(field: str, count: str) -> Optional[float]:
        values = [(s * getattr(halt, count), getattr(halt, field)) for s, halt in seen]
        known = [(n, value) for n, value in values if n and value is not None]
        return _mean(iter(known)) if known else None

    return HaltRate(
        mean("attempted"),
        mean("successful"),
        mean("failed"),
        mean("invalid"),
        mean("wakeups"),
        mean("poll_share"),
        mean("wait_share"),
        each("mean_success_ns", "successful"),
        each("mean_fail_ns", "failed"),
        each("mean_wait_ns", "wakeups"),
    )
