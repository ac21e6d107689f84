"""Turns what the engine read into frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Optional

from vmlat_tui.discover.threads import PROC, read_stat
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.hooks import HOOKS, NUMBER
from vmlat_tui.model.legs import sort_key
from vmlat_tui.model.points import STEPS, Direction
from vmlat_tui.model.wakeups import Wakeups
from vmlat_tui.probes.ladder import PointState
from vmlat_tui.probes.layout import PacketRecord
from vmlat_tui.probes.reading import KernelCounts
from vmlat_tui.probes.symbols import DropReasons, Symbols
from vmlat_tui.protocol.frames import Frame


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

    def packet_frame(self, record: PacketRecord, ended: Optional[Bin] = None) -> Frame:
        """``packet``, or ``drop`` for one that ended elsewhere than at its last point."""
        direction = Direction(record.direction)
        stages: list[dict[str, object]] = []
        for number in sorted(record.times):
            step = STEPS[number]
            hook = HOOKS[record.hooks[number]]
            tid = record.task(step)
            stages.append(
                {
                    "stage": step.seed_stages[direction],
                    "point": step.point.id,
                    "function": hook.symbol,
                    "t_ns": record.times[number],
                    "cpu": record.processors[number],
                    "tid": tid,
                    "comm": record.comm if tid == record.tid else self._tasks.name(tid),
                }
            )
        times = [record.times[number] for number in sorted(record.times)]
        where = ended if ended is not None else Bin(record.bin)
        frame: Frame = {
            "type": "packet" if where is Bin.COMPLETED else "drop",
            "direction": direction.id,
            "flow": record.flow.to_json(),
            "vm_interface": self.interfaces.get(record.vm_ifindex),
            "phy_interface": self.interfaces.get(record.phy_ifindex),
            "process": {"pid": record.tgid, "tid": record.tid, "comm": record.comm},
            "bytes": record.bytes,
            "stages": stages,
            "absent": [
                {"reason": absence.id, "points": list(absence.points)}
                for absence in record.absences
            ],
            "total_ns": times[-1] - times[0],
        }
        if record.echo is not None:
            frame["icmp"] = record.echo.to_json()
        if where is not Bin.COMPLETED:
            frame["bin"] = where.id
            frame["drop"] = {
                "point": STEPS[record.last].point.id,
                "reason": self._reasons.name(record.reason),
                "function": self._symbols.freer(record.location, record.stack)
                if where is Bin.DROPPED
                else None,
            }
        return frame

    def stats_frame(
        self,
        reading: KernelCounts,
        wakeups: Sequence[tuple[int, Wakeups]],
        t_ns: int,
        cost: Mapping[str, int],
        final: bool,
    ) -> Frame:
        """``stats``: everything counted since the start."""
        legs = [
            {
                "vm_interface": self._vnet(slot),
                "leg": leg.id,
                "direction": leg.direction.id,
                "title": leg.title,
                **histogram.to_json(),
            }
            for (slot, leg), histogram in sorted(
                reading.legs.items(), key=lambda item: (item[0][0], sort_key(item[0][1]))
            )
            if histogram.count
        ]
        flows = [
            {
                "direction": totals.direction.id,
                "vm_interface": self._vnet(totals.slot),
                "flow": totals.flow.to_json(),
                "packets": totals.packets,
                "bytes": totals.bytes,
                "first_ns": totals.first_ns,
                "last_ns": totals.last_ns,
            }
            for totals in reading.flows
        ]
        drops = [
            {
                "direction": totals.direction.id,
                "vm_interface": self._vnet(totals.slot),
                "point": STEPS[totals.last_step].point.id,
                "reason": self._reasons.name(totals.reason),
                "function": self._symbols.freer(totals.location, ()),
                "packets": totals.count,
            }
            for totals in reading.drops
        ]
        absences = [
            {
                "vm_interface": self._vnet(slot),
                "direction": absence.direction.id,
                "reason": absence.id,
                "packets": packets,
            }
            for (slot, absence), packets in reading.absences.items()
        ]
        return {
            "type": "stats",
            "final": final,
            "t_ns": t_ns,
            "bins": {d.id: account.to_json() for d, account in reading.accounts.items()},
            "legs": legs,
            "flows": flows,
            "drops": drops,
            "absences": absences,
            "wakeups": [
                replace(row, vm_interface=self._vnet(slot)).to_json() for slot, row in wakeups
            ],
            "hooks": {id_: reading.hits[number] for id_, number in NUMBER.items()},
            "counters": reading.counters,
            "cost": dict(cost),
        }


def points_json(points: Sequence[PointState]) -> list[dict[str, object]]:
    """Which hook each point got, or why it has none."""
    return [
        {
            "point": state.point,
            "directions": [d.id for d in state.directions],
            "hooks": [
                {"function": hook.symbol, "kind": state.kinds.get(hook.id, hook.kind)}
                for hook in state.hooks
            ],
            "reason": state.reason,
        }
        for state in points
    ]
