"""One ``stats`` frame against the one before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Optional, TypeVar

from vmlat_tui.model.bins import Account, Bin
from vmlat_tui.model.flows import Flow
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.wakeups import Wakeups
from vmlat_tui.protocol.stats import (
    AbsenceCount,
    DropCount,
    FlowCount,
    LegRow,
    StatsFrame,
    WakeupsRow,
)
from vmlat_tui.session import wakes
from vmlat_tui.session.sample import LegKey, Samples, grown
from vmlat_tui.session.snapshot import (
    AbsenceKey,
    DropKey,
    DropRow,
    FlowRow,
    Since,
    Stats,
    Totals,
    Trust,
)
from vmlat_tui.session.wakes import Woken

_EMPTY = Histogram()
_FlowKey = tuple[str, str, Flow]
_Key = TypeVar("_Key")
_Row = TypeVar("_Row")
#: Flows that are remembered; when there are more, the half that was idle for longest goes.
_FLOWS = 40_000
#: Rows of any other kind that are read in one frame.
ROWS = 20_000
#: Rows of drops that are distinguished at a moment, and at one that is past.
_DROPS, _PAST_DROPS = 2000, 200
#: The point of all others.
OTHER = "other"


class StatsReader:
    """Knows the reading before, and from where on packets are counted."""

    def __init__(self, began_ns: int = 0) -> None:
        """Nothing was read yet; the probes are there since ``began_ns``."""
        self._t_ns: Optional[int] = None
        self._cost: Mapping[str, int] = {}
        self._totals: dict[LegKey, Histogram] = {}
        #: Totals when the filter or the settings were changed last.
        self._base: dict[LegKey, Histogram] = {}
        self._keys: dict[LegKey, LegKey] = {}
        self._seen: frozenset[LegKey] = frozenset()
        self._flow_rows: dict[_FlowKey, FlowRow] = {}
        self._drop_counts: dict[DropKey, int] = {}
        self._absences: dict[AbsenceKey, int] = {}
        self._absence_keys: dict[AbsenceKey, AbsenceKey] = {}
        self._wakeups: dict[int, Wakeups] = {}
        self._since = Since({}, {}, {}, began_ns)
        #: Rows that were too many to read.
        self.left_out = 0

    def rebase(self) -> None:
        """Other packets are counted from here on."""
        self._base = self._totals
        began_ns = self._since.t_ns if self._t_ns is None else self._t_ns
        self._since = Since(self._absences, self._wakeups, self._drop_counts, began_ns)

    def read(self, frame: StatsFrame) -> Stats:
        """What a ``stats`` frame says, and what changed since the one before."""
        t_ns = frame.t_ns
        first = self._t_ns is None
        began = t_ns if self._t_ns is None else self._t_ns
        seconds = max((t_ns - began) / 1e9, 1e-9)
        totals, samples = self._legs(self._some(frame.legs), first)
        flows = self._flows(frame.flows, seconds, first)
        drops = self._drops(frame.drops, seconds, first)
        absences = self._absent(self._some(frame.absences or ()), first)
        woken = self._woken(self._some(frame.wakeups or ()), first)
        accounts = {d: row.account for d, row in frame.bins.items()}
        trust = _trust(frame, self._cost, accounts, seconds)
        # Not the frame itself: thousands of small lists would live on for the collector to visit.
        self._t_ns, self._cost, self._totals = t_ns, frame.cost, totals
        since = Totals(totals, self._base)
        if self._seen != since.seen:
            self._seen = since.seen
        return Stats(
            t_ns=t_ns,
            seconds=seconds,
            legs=self._seen,
            samples=samples,
            totals=since,
            flows=flows,
            drops=drops,
            accounts=accounts,
            trust=trust,
            hits=dict(frame.hooks),
            absences=absences,
            wakeups=woken,
            since=self._counted(),
        )

    def _some(self, rows: Sequence[_Row]) -> Sequence[_Row]:
        self.left_out += max(0, len(rows) - ROWS)
        return rows[:ROWS]

    def _legs(self, rows: Sequence[LegRow], first: bool) -> tuple[dict[LegKey, Histogram], Samples]:
        """Totals, and what they grew by; the first reading is where counting begins.

        Hundreds of legs twice a second: what did not change is not looked at.
        """
        totals: dict[LegKey, Histogram] = {}
        samples = Samples()
        for row in rows:
            key = (row.vm_interface or "", row.leg)
            # One object for each name in the whole history, here and below.
            key = self._keys.setdefault(key, key)
            before = self._totals.get(key, _EMPTY)
            if before.count == row.count:
                totals[key] = before
                continue
            total = row.histogram
            totals[key] = total
            if not first:
                samples[key] = grown(before, total)
        self._keys = _pruned(self._keys, totals)
        return totals, samples

    def _flows(self, rows: Sequence[FlowCount], seconds: float, first: bool) -> tuple[FlowRow, ...]:
        """A frame has only the flows with traffic since the one before; the others stay, idle."""
        known = {
            key: row._replace(packets_per_second=0.0, bits_per_second=0.0)
            if row.packets_per_second
            else row
            for key, row in self._flow_rows.items()
        }
        for row in rows:
            key = direction, vnic, flow = row.key
            packets, size, first_ns = row.packets, row.bytes, row.first_ns
            before = self._flow_rows.get(key)
            if before is not None:
                key = direction, vnic, flow = before[:3]
            if before is not None and before.first_ns == first_ns:
                gone = before.packets, before.bytes
            else:  # new, or forgotten by the agent meanwhile
                gone = (packets, size) if first else (0, 0)
            known[key] = FlowRow(
                direction,
                vnic,
                flow,
                packets,
                size,
                first_ns,
                row.last_ns,
                max(0, packets - gone[0]) / seconds,
                max(0, size - gone[1]) * 8 / seconds,
            )
        if len(known) > _FLOWS:
            latest = sorted(known.items(), key=lambda item: item[1].last_ns)
            known = dict(latest[-_FLOWS // 2 :])
        self._flow_rows = known
        return tuple(known.values())

    def _drops(self, rows: Sequence[DropCount], seconds: float, first: bool) -> tuple[DropRow, ...]:
        counts: dict[DropKey, int] = {}
        for at, row in enumerate(rows):
            key: DropKey = (
                row.direction,
                row.vm_interface or "",
                row.point,
                row.reason,
                row.function,
            )
            if at >= ROWS:
                key = (key[0], "", OTHER, None, None)
            counts[key] = counts.get(key, 0) + row.packets
        before, self._drop_counts = self._drop_counts, counts
        return _folded(
            [
                DropRow(*key, packets, max(0, packets - before.get(key, packets * first)) / seconds)
                for key, packets in counts.items()
            ],
            _DROPS,
        )

    def _absent(self, rows: Sequence[AbsenceCount], first: bool) -> dict[AbsenceKey, int]:
        """Packets of the interval that left out points, by the reason."""
        counts: dict[AbsenceKey, int] = {}
        for row in rows:
            key = (row.vm_interface or "", row.direction, row.reason)
            counts[self._absence_keys.setdefault(key, key)] = row.packets
        self._absence_keys = _pruned(self._absence_keys, counts)
        before, self._absences = self._absences, counts
        return {} if first else _rises(before, counts)

    def _woken(self, rows: Sequence[WakeupsRow], first: bool) -> dict[int, Woken]:
        """Wake-ups of the interval, of the threads that had any."""
        before = self._wakeups
        self._wakeups = {row.tid: wakes.read(row, before.get(row.tid)) for row in rows}
        return {
            tid: wakes.woken(before.get(tid), total)
            for tid, total in self._wakeups.items()
            if not first and total is not before.get(tid)
        }

    def _counted(self) -> Since:
        """Since probes or filter were set."""
        base = self._since
        left = {
            tid: wakes.without(total, base.wakeups.get(tid)) for tid, total in self._wakeups.items()
        }
        return Since(
            _rises(base.absences, self._absences),
            {tid: woken for tid, woken in left.items() if woken is not None},
            _rises(base.drops, self._drop_counts),
            base.t_ns,
        )


def past(stats: Stats) -> Stats:
    """What of a moment is kept when it is not the newest any more."""
    grew = [row for row in stats.drops if row.packets_per_second]
    return replace(stats, totals=None, since=None, drops=_folded(grew, _PAST_DROPS))


def _folded(rows: Sequence[DropRow], room: int) -> tuple[DropRow, ...]:
    """As many rows as there is room for, those that grew most; the rest of a vNIC is one."""
    if len(rows) <= room:
        return tuple(rows)
    ordered = sorted(rows, key=lambda row: (row.packets_per_second, row.packets), reverse=True)
    rest: dict[tuple[str, str], DropRow] = {}
    for row in ordered[room:]:
        key = row.direction, row.vnic if len(rest) < room else ""
        sum_ = rest.get(key) or DropRow(*key, OTHER, None, None, 0, 0.0)
        rest[key] = sum_._replace(
            packets=sum_.packets + row.packets,
            packets_per_second=sum_.packets_per_second + row.packets_per_second,
        )
    return (*ordered[:room], *rest.values())


def _pruned(names: dict[_Key, _Key], used: Iterable[_Key]) -> dict[_Key, _Key]:
    """Names of which most are not used any more, without these."""
    used = list(used)
    return {key: key for key in used} if len(names) > 2 * len(used) + 1000 else names


def _rises(before: Mapping[_Key, int], after: Mapping[_Key, int]) -> dict[_Key, int]:
    """What rose, and by how much."""
    rises = {key: count - before.get(key, 0) for key, count in after.items()}
    return {key: rise for key, rise in rises.items() if rise > 0}


#: Counters of what found a table full.
LEFT_OUT = (
    *("unlisted", "unplaced", "flows_full", "drops_full", "threads_full"),
    *("vcpus_left_out", "vnics_left_out", "rows_left_out"),
)


def _trust(
    frame: StatsFrame, before: Mapping[str, int], accounts: Mapping[str, Account], seconds: float
) -> Trust:
    counters, cost = frame.counters, frame.cost
    ended = sum(a.ended - a.bins[Bin.IN_FLIGHT] for a in accounts.values())
    unknown = sum(a.bins[Bin.EXPIRED] + a.bins[Bin.EVICTED] for a in accounts.values())
    own_cpu = None
    if "cpu_ns" in cost and "cpu_ns" in before:
        own_cpu = max(0, cost["cpu_ns"] - before["cpu_ns"]) / seconds / 1e9
    return Trust(
        matched=(ended - unknown) / ended if ended else None,
        lost=int(counters.get("lost", 0)),
        suppressed=int(counters.get("suppressed", 0)),
        late=int(counters.get("disorder", 0)),
        missed_runs=int(cost.get("missed_runs", 0)),
        flows_evicted=int(counters.get("flows_evicted", 0)),
        left_out=sum(int(counters.get(name, 0)) for name in LEFT_OUT),
        balanced=all(a.balanced for a in accounts.values()),
        own_cpu=own_cpu,
        memory_bytes=cost.get("memory_bytes"),
    )
