"""The frame ``stats``: everything counted since the measurement began.

Its rows are named tuples: a frame may have a hundred thousand of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Optional

from vmlat_tui.model import checks
from vmlat_tui.model.bins import Account, Bin
from vmlat_tui.model.checks import pair, text, whole
from vmlat_tui.model.flows import Flow
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.jsonable import Jsonable, Size, possible
from vmlat_tui.model.wakeups import Halts, Role, Wakeups
from vmlat_tui.protocol.session import DirectionId, Name, Time

_Count = Annotated[int, checks.count]
_Total = Annotated[int, checks.total]
_Text = Annotated[str, text]
#: The device of a vNIC; None: its name is not known.
_Vnic = Optional[_Text]
#: Number of a bucket, how many in it; only those in use.
_Buckets = Annotated[Sequence[Sequence[int]], checks.buckets]
_Counters = Annotated[Mapping[Name, _Total], Size(0, 1 << 12)]
#: Counters of packets that had no frame of their own though they should.
_UNSEEN = ("lost", "suppressed")


class BinsRow(NamedTuple):
    """Packets that started in a direction, by where they ended; ``sum`` equals ``started``."""

    started: _Total
    completed: _Total
    dropped: _Total
    filtered: _Total
    expired: _Total
    evicted: _Total
    in_flight: _Total
    sum: _Total

    @classmethod
    def of(cls, account: Account) -> BinsRow:
        """Of what was counted."""
        return cls._make((account.started, *(account.bins[b] for b in Bin), account.ended))

    @property
    def account(self) -> Account:
        """Inverse of :meth:`of`."""
        return Account(self.started, dict(zip(Bin, self[1:-1])))


def pairs(counts: Mapping[int, int]) -> list[list[int]]:
    """Number and count of those in use, in order."""
    return [[number, counts[number]] for number in sorted(counts) if counts[number]]


@dataclass(frozen=True)
class HistogramRow:
    """A histogram in JSON."""

    count: _Count
    sum_ns: _Total
    max_ns: _Total
    buckets: _Buckets

    @classmethod
    def of(cls, histogram: Histogram) -> HistogramRow:
        """Of what was counted."""
        return cls(histogram.count, histogram.sum_ns, histogram.max_ns, pairs(histogram.buckets))

    @property
    def histogram(self) -> Histogram:
        """Inverse of :meth:`of`."""
        return Histogram(self.count, self.sum_ns, self.max_ns, dict(self.buckets))  # type: ignore[arg-type]


@dataclass(frozen=True)
class LegRow:
    """A leg of a vNIC; ``title`` is for people."""

    vm_interface: _Vnic
    leg: Name
    direction: DirectionId
    title: Name
    count: _Count
    sum_ns: _Total
    max_ns: _Total
    buckets: _Buckets

    @property
    def histogram(self) -> Histogram:
        """What it took."""
        return Histogram(self.count, self.sum_ns, self.max_ns, dict(self.buckets))  # type: ignore[arg-type]


class FlowCount(NamedTuple):
    """A flow of a vNIC in one direction."""

    direction: DirectionId
    vm_interface: _Vnic
    flow: Flow
    packets: _Count
    bytes: _Total
    first_ns: Time
    last_ns: Time

    @property
    def key(self) -> tuple[str, str, Flow]:
        """What identifies it: direction, vNIC, flow."""
        return self.direction, self.vm_interface or "", self.flow


class DropCount(NamedTuple):
    """Packets that ended after one point for one reason, by the function that freed them."""

    direction: DirectionId
    vm_interface: _Vnic
    point: Name
    reason: Optional[_Text]
    function: Optional[_Text]
    packets: _Count


class AbsenceCount(NamedTuple):
    """Packets that left out points; ``reason`` is an id of :mod:`.absences`."""

    vm_interface: _Vnic
    direction: DirectionId
    reason: Name
    packets: _Count


class HaltsRow(NamedTuple):
    """How the halts of a vCPU ended: :class:`.Halts`."""

    polled: _Count
    polled_ns: _Total
    slept: _Count
    slept_ns: _Total
    grown: _Count
    shrunk: _Count
    window_ns: Optional[_Count]


class WakeupsRow(NamedTuple):
    """The wake-ups of one thread: :class:`.Wakeups`."""

    tid: _Count
    role: Role
    vm_interface: _Vnic
    idle: HistogramRow
    queued: HistogramRow
    migrations: _Count
    idle_states: Annotated[
        tuple[Annotated[Sequence[int], pair(whole, checks.count)], ...], Size(0, 64)
    ]
    ahead_ns: Annotated[
        tuple[Annotated[Sequence[object], pair(text, checks.total)], ...], Size(0, 4096)
    ]
    halts: Optional[HaltsRow] = None

    @classmethod
    def of(cls, row: Wakeups, vm_interface: Optional[str]) -> WakeupsRow:
        """Of what was counted of the thread of a vNIC."""
        halts = row.halts
        return cls(
            row.tid,
            row.role,
            vm_interface,
            HistogramRow.of(row.idle),
            HistogramRow.of(row.queued),
            row.migrations,
            tuple(pairs(row.idle_states)),
            tuple([name, ns] for name, ns in row.ahead_ns.items()),
            HaltsRow(*(getattr(halts, name) for name in HaltsRow._fields)) if halts else None,
        )

    @property
    def halted(self) -> Optional[Halts]:
        """Its halts."""
        return Halts(**self.halts._asdict()) if self.halts is not None else None

    @property
    def wakeups(self) -> Wakeups:
        """Inverse of :meth:`of`."""
        return Wakeups(
            self.tid,
            self.role,
            self.idle.histogram,
            self.queued.histogram,
            self.migrations,
            dict(self.idle_states),  # type: ignore[arg-type]
            dict(self.ahead_ns),  # type: ignore[arg-type]
            self.vm_interface,
            self.halted,
        )


@dataclass(frozen=True)
class StatsFrame(Jsonable):
    """Everything counted since the start.

    ``flows`` has those with traffic since the last ``stats``; the ``final`` one has all.  ``bins``
    is by direction, ``hooks`` how often each fired by its id, ``counters`` are losses and limits,
    ``cost`` is the agent's own.
    """

    final: bool
    t_ns: Time
    bins: Annotated[Mapping[DirectionId, BinsRow], Size(0, 2)]
    legs: tuple[LegRow, ...]
    flows: tuple[FlowCount, ...]
    drops: tuple[DropCount, ...]
    hooks: _Counters
    counters: _Counters
    cost: _Counters
    absences: Optional[tuple[AbsenceCount, ...]] = possible()
    wakeups: Optional[tuple[WakeupsRow, ...]] = possible()

    def ended(self, where: Bin) -> int:
        """Packets of both directions that ended there."""
        return sum(getattr(row, where.id) for row in self.bins.values())

    @property
    def unseen(self) -> int:
        """How many packets so far had no frame of their own though they should.

        A ping that began before the last of them may have had its reply.
        """
        counted = sum(self.counters.get(name, 0) for name in _UNSEEN)
        return self.ended(Bin.EVICTED) + counted
