"""Wake-ups of one thread in one interval, in as few bytes as it takes, and put together again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Optional

from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.wakeups import Halts, Role, Wakeups
from vmlat_tui.protocol.stats import WakeupsRow
from vmlat_tui.session.sample import grown, merged

#: What of :class:`Halts` only grows.
_COUNTED = ("polled", "polled_ns", "slept", "slept_ns", "grown", "shrunk")


class Woken(NamedTuple):
    """What :class:`Wakeups` of a thread grew by; ``idle`` and ``queued`` are samples.

    The window of ``halts`` is that at the end of the interval.
    """

    role: Role
    vm_interface: Optional[str]
    idle: bytes
    queued: bytes
    migrations: int
    idle_states: tuple[tuple[int, int], ...]
    ahead_ns: tuple[tuple[str, int], ...]
    halts: Optional[Halts]


def read(row: WakeupsRow, before: Optional[Wakeups]) -> Wakeups:
    """One row of a ``stats`` frame; ``before`` itself where nothing was counted since."""
    now = row.idle.count + row.queued.count, row.halted
    if before is not None and (before.count, before.halts) == now:
        return before
    return row.wakeups


def woken(before: Optional[Wakeups], after: Wakeups) -> Woken:
    """What was counted in between; from the beginning if there is no ``before``."""
    nothing = Histogram()
    return Woken(
        after.role,
        after.vm_interface,
        grown(before.idle if before else nothing, after.idle),
        grown(before.queued if before else nothing, after.queued),
        max(0, after.migrations - (before.migrations if before else 0)),
        tuple(_more(before.idle_states if before else {}, after.idle_states).items()),
        tuple(_more(before.ahead_ns if before else {}, after.ahead_ns).items()),
        _halted(before.halts if before else None, after.halts),
    )


def _halted(before: Optional[Halts], after: Optional[Halts]) -> Optional[Halts]:
    if before is None or after is None:
        return after
    rises = {name: max(0, getattr(after, name) - getattr(before, name)) for name in _COUNTED}
    return Halts(**rises, window_ns=after.window_ns)


def _halts_together(parts: Iterable[Optional[Halts]]) -> Optional[Halts]:
    given = [part for part in parts if part is not None]
    if not given:
        return None
    sums = {name: sum(getattr(part, name) for part in given) for name in _COUNTED}
    return Halts(**sums, window_ns=given[-1].window_ns)


def _more(before: Mapping[Any, int], after: Mapping[Any, int]) -> dict[Any, int]:
    rises = {key: count - before.get(key, 0) for key, count in after.items()}
    return {key: rise for key, rise in rises.items() if rise > 0}


def together(tid: int, parts: Iterable[Woken]) -> Optional[Wakeups]:
    """Some intervals of a thread as one; None if there is none."""
    given = list(parts)
    if not given:
        return None
    states: Counter[int] = Counter()
    ahead_ns: Counter[str] = Counter()
    for part in given:
        states.update(dict(part.idle_states))
        ahead_ns.update(dict(part.ahead_ns))
    last = given[-1]
    return Wakeups(
        tid,
        last.role,
        merged(part.idle for part in given),
        merged(part.queued for part in given),
        sum(part.migrations for part in given),
        dict(states),
        dict(ahead_ns),
        last.vm_interface,
        _halts_together(part.halts for part in given),
    )


def without(total: Wakeups, later: Optional[Wakeups]) -> Optional[Wakeups]:
    """What was counted before ``later``, which is a part of ``total``; None if nothing was."""
    if later is None or not later.events:
        return total
    left = together(total.tid, (woken(later, total),))
    return left if left is not None and left.events else None
