"""What is counted beside the legs, over a span: absent points, wake-ups, drops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Optional

from vmlat_tui.model.wakeups import Wakeups
from vmlat_tui.session import window
from vmlat_tui.session.snapshot import DropKey, Place, Since, Snapshot
from vmlat_tui.session.wakes import together, without
from vmlat_tui.session.window import Span


def absences(
    place: Place, vnic: str, direction: str, span: Span, mark_ns: Optional[int] = None
) -> dict[str, int]:
    """Reason -> packets of a vNIC in the span that left out points for it."""
    since, within, later = _sources(place, span, mark_ns)
    if since is None:
        found = _absent(within)
    else:
        found = Counter(since.absences) - _absent(later)
    return {
        reason: count
        for (name, where, reason), count in found.items()
        if (name, where) == (vnic, direction)
    }


def _absent(moments: Sequence[Snapshot]) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for moment in moments:
        found.update(moment.stats.absences if moment.stats else {})
    return found


def wakeups(
    place: Place, tids: Collection[int], span: Span, mark_ns: Optional[int] = None
) -> dict[int, Wakeups]:
    """Wake-ups and halts in the span of those of these threads that had any, by their tids."""
    since, within, later = _sources(place, span, mark_ns)
    if since is None:
        return _woken(within, tids)
    after = _woken(later, tids)
    totals = {tid: since.wakeups[tid] for tid in tids if tid in since.wakeups}
    left = {tid: without(total, after.get(tid)) for tid, total in totals.items()}
    found = {tid: woken for tid, woken in left.items() if woken is not None and woken.events}
    return {tid: _as_of(place, woken) for tid, woken in found.items()} if later else found


def _as_of(place: Place, woken: Wakeups) -> Wakeups:
    """With the polling window that the vCPU had at this place: totals know the newest one."""
    if woken.halts is None:
        return woken
    for moment in reversed(window.stretch(place, Span.START)):
        part = moment.stats.wakeups.get(woken.tid) if moment.stats else None
        if part is not None and part.halts is not None:
            then_ns = part.halts.window_ns
            break
    else:
        then_ns = None
    return replace(woken, halts=replace(woken.halts, window_ns=then_ns))


def seconds(place: Place, span: Span, mark_ns: Optional[int] = None) -> float:
    """How long the span is in which :func:`wakeups` counts; 0 if nothing was counted."""
    stats = place.now.stats
    since, within, _ = _sources(place, span, mark_ns)
    if since is not None and stats is not None:
        return max(0, stats.t_ns - since.t_ns) / 1e9
    return sum(moment.stats.seconds for moment in within if moment.stats)


def workers(place: Place, vnic: str) -> set[int]:
    """The tids of the workers of a vNIC that were woken, as the probes say."""
    stats = place.now.stats
    if stats is None:
        return set()
    found = {tid for tid, row in stats.wakeups.items() if row.vm_interface == vnic}
    if stats.since is not None:
        found |= {tid for tid, row in stats.since.wakeups.items() if row.vm_interface == vnic}
    return found


def _woken(moments: Sequence[Snapshot], tids: Collection[int]) -> dict[int, Wakeups]:
    parts = [moment.stats.wakeups for moment in moments if moment.stats]
    found = {tid: together(tid, (part[tid] for part in parts if tid in part)) for tid in tids}
    return {tid: woken for tid, woken in found.items() if woken is not None and woken.events}


def drops(place: Place, vnic: str, span: Span, mark_ns: Optional[int] = None) -> dict[DropKey, int]:
    """Packets of a vNIC that were dropped in the span, by where and why."""
    since, within, later = _sources(place, span, mark_ns)
    found = _dropped(within) if since is None else Counter(since.drops) - _dropped(later)
    return {key: count for key, count in found.items() if key[1] == vnic and count}


def _dropped(moments: Sequence[Snapshot]) -> Counter[DropKey]:
    found: Counter[DropKey] = Counter()
    for stats in (moment.stats for moment in moments if moment.stats):
        for row in stats.drops:
            found[row.key] += round(row.packets_per_second * stats.seconds)
    return found


def _sources(
    place: Place, span: Span, mark_ns: Optional[int]
) -> tuple[Optional[Since], Sequence[Snapshot], Sequence[Snapshot]]:
    """Everything since the start and the moments after this place, or the moments of the span."""
    newest = place.moments[-1]
    since = newest.stats.since if newest.stats else None
    if span is Span.START and since and newest.measuring is place.now.measuring:
        return since, (), place.moments[place.index + 1 :]
    return None, window.stretch(place, span, mark_ns), ()
