"""Turns what the engine read into frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional

from vmlat_tui.discover.threads import PROC, read_stat
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.hooks import HOOKS, NUMBER
from vmlat_tui.model.legs import sort_key
from vmlat_tui.model.packets import (
    DropFrame,
    LeftOut,
    PacketDrop,
    PacketFrame,
    Process,
    SeenPacket,
    Stage,
)
from vmlat_tui.model.points import STEPS, Direction
from vmlat_tui.model.wakeups import Wakeups
from vmlat_tui.probes.ladder import PointState
from vmlat_tui.probes.layout import PacketRecord
from vmlat_tui.probes.reading import KernelCounts
from vmlat_tui.probes.symbols import DropReasons, Symbols
from vmlat_tui.protocol.session import AttachedHook, PointHooks
from vmlat_tui.protocol.stats import (
    AbsenceCount,
    BinsRow,
    DropCount,
    FlowCount,
    LegRow,
    StatsFrame,
    WakeupsRow,
    pairs,
)


class Tasks:
    """Names of threads; remembered, as a packet may be shown after its thread is gone."""

    _ROOM = 1024

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def name(self, tid: Optional[int]) -> Optional[str]:
        """Its name when it was first asked for; None if it was gone by then."""
        if tid is None:
            return None
        if tid not in self._names:
            stat = read_stat(PROC / str(tid))
            if stat is None:
                return None
            if len(self._names) >= self._ROOM:
                self._names.clear()
            self._names[tid] = stat.name
        return self._names[tid]


class Encoder:
    """Knows the names behind the kernel's numbers at this moment."""

    def __init__(self, symbols: Symbols, reasons: DropReasons) -> None:
        self._symbols = symbols
        self._reasons = reasons
        self._tasks = Tasks()
        #: Interface names by index; entries of vanished interfaces stay, packets still name them.
        self.interfaces: dict[int, str] = {}
        #: Names of the vNICs by slot.
        self.vnets: Sequence[str] = ()

    def _vnet(self, slot: int) -> Optional[str]:
        return self.vnets[slot] if slot < len(self.vnets) else None

    def packet_frame(self, record: PacketRecord, ended: Optional[Bin] = None) -> SeenPacket:
        """``packet``, or ``drop`` for one that ended elsewhere than at its last point."""
        direction = Direction(record.direction)
        stages = []
        for number in sorted(record.times):
            step = STEPS[number]
            tid = record.task(step)
            stages.append(
                Stage(
                    step.seed_stages[direction],
                    step.point.id,
                    HOOKS[record.hooks[number]].symbol,
                    record.times[number],
                    record.processors[number],
                    tid,
                    record.comm if tid == record.tid else self._tasks.name(tid),
                )
            )
        seen = (
            direction.id,
            record.flow,
            self.interfaces.get(record.vm_ifindex),
            self.interfaces.get(record.phy_ifindex),
            Process(record.tgid, record.tid, record.comm),
            record.bytes,
            tuple(stages),
            stages[-1].t_ns - stages[0].t_ns,
        )
        absent = tuple(LeftOut(one.id, tuple(one.points)) for one in record.absences)
        where = ended if ended is not None else Bin(record.bin)
        if where is Bin.COMPLETED:
            return PacketFrame(*seen, absent, record.echo)
        freer = None
        if where is Bin.DROPPED:
            freer = self._symbols.freer(record.location, record.stack)
        drop = PacketDrop(STEPS[record.last].point.id, self._reasons.name(record.reason), freer)
        return DropFrame(*seen, where.id, drop, absent, record.echo)

    def stats_frame(
        self,
        reading: KernelCounts,
        wakeups: Sequence[tuple[int, Wakeups]],
        t_ns: int,
        cost: Mapping[str, int],
        final: bool,
    ) -> StatsFrame:
        """``stats``: everything counted since the start."""
        legs = (
            LegRow(
                self._vnet(slot),
                leg.id,
                leg.direction.id,
                leg.title,
                histogram.count,
                histogram.sum_ns,
                histogram.max_ns,
                pairs(histogram.buckets),
            )
            for (slot, leg), histogram in sorted(
                reading.legs.items(), key=lambda item: (item[0][0], sort_key(item[0][1]))
            )
            if histogram.count
        )
        flows = (
            FlowCount(
                totals.direction.id,
                self._vnet(totals.slot),
                totals.flow,
                totals.packets,
                totals.bytes,
                totals.first_ns,
                totals.last_ns,
            )
            for totals in reading.flows
        )
        drops = (
            DropCount(
                totals.direction.id,
                self._vnet(totals.slot),
                STEPS[totals.last_step].point.id,
                self._reasons.name(totals.reason),
                self._symbols.freer(totals.location, ()),
                totals.count,
            )
            for totals in reading.drops
        )
        absences = (
            AbsenceCount(self._vnet(slot), absence.direction.id, absence.id, packets)
            for (slot, absence), packets in reading.absences.items()
        )
        return StatsFrame(
            final=final,
            t_ns=t_ns,
            bins={d.id: BinsRow.of(account) for d, account in reading.accounts.items()},
            legs=tuple(legs),
            flows=tuple(flows),
            drops=tuple(drops),
            hooks={id_: reading.hits[number] for id_, number in NUMBER.items()},
            counters=reading.counters,
            cost=cost,
            absences=tuple(absences),
            wakeups=tuple(WakeupsRow.of(row, self._vnet(slot)) for slot, row in wakeups),
        )


def point_hooks(points: Sequence[PointState]) -> tuple[PointHooks, ...]:
    """Which hook each point got, or why it has none."""
    return tuple(
        PointHooks(
            state.point,
            tuple(d.id for d in state.directions),
            tuple(
                AttachedHook(hook.symbol, state.kinds.get(hook.id, hook.kind))
                for hook in state.hooks
            ),
            state.reason,
        )
        for state in points
    )
