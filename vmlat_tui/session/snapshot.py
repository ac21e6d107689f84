"""What is known at one moment: immutable, built from frames, read by every screen and report."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from vmlat_tui.errors import VmlatError
from vmlat_tui.model.bins import Account
from vmlat_tui.model.flows import Flow
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.packets import DropFrame, SeenPacket
from vmlat_tui.model.rates import Rates
from vmlat_tui.model.requested import Requested
from vmlat_tui.model.topology import Topology
from vmlat_tui.model.wakeups import Wakeups
from vmlat_tui.protocol.session import HelloFrame, HostFrame, MeasuringFrame
from vmlat_tui.session.sample import LegKey, Samples, grown, merged
from vmlat_tui.session.wakes import Woken

#: Where and why a packet ended: direction, vNIC, point, the kernel's reason, freeing function.
DropKey = tuple[str, str, str, Optional[str], Optional[str]]
#: Which points it left out: vNIC, direction, id of :mod:`vmlat_tui.model.absences`.
AbsenceKey = tuple[str, str, str]


class Phase(enum.Enum):
    """How far the stream has come."""

    CONNECTING = "connecting"
    WATCHING = "watching"
    ATTACHING = "attaching"
    MEASURING = "measuring"
    #: The connection broke and is tried again; what is shown is what was known before.
    LOST = "lost"
    ENDED = "ended"
    FAILED = "failed"


class FlowRow(NamedTuple):
    """One flow in one direction: totals since the start, rates of the last interval."""

    direction: str
    vnic: str
    flow: Flow
    packets: int
    bytes: int
    first_ns: int
    last_ns: int
    packets_per_second: float
    bits_per_second: float

    @property
    def key(self) -> tuple[object, ...]:
        """What stays the same while the numbers change."""
        return (self.direction, self.vnic, self.flow)


class DropRow(NamedTuple):
    """Packets that ended at one place for one reason."""

    direction: str
    vnic: str
    point: str
    reason: Optional[str]
    function: Optional[str]
    packets: int
    packets_per_second: float

    @property
    def key(self) -> DropKey:
        """What stays the same while the numbers change."""
        return self[:5]


@dataclass(frozen=True)
class Trust:
    """How far the figures can be relied on.

    ``matched`` is the share of ended packets whose end is known (not expired, not evicted);
    ``left_out`` is how much the figures do not hold, as a table was full (packets, threads, …);
    ``own_cpu`` the agent's share of one CPU in the last interval.
    """

    matched: Optional[float]
    lost: int
    suppressed: int
    late: int
    missed_runs: int
    flows_evicted: int
    left_out: int
    balanced: bool
    own_cpu: Optional[float]
    memory_bytes: Optional[int]


class Totals(NamedTuple):
    """All packets of every leg since the probes are there, and those before the filter was set."""

    counted: Mapping[LegKey, Histogram]
    before: Mapping[LegKey, Histogram]

    @property
    def seen(self) -> frozenset[LegKey]:
        """The legs that a packet passed since the filter was set."""
        before = self.before.get
        nobody = Histogram()
        return frozenset(
            key for key, total in self.counted.items() if total.count > before(key, nobody).count
        )

    def of(self, key: LegKey) -> Histogram:
        """One leg since the filter was set."""
        total = self.counted.get(key, Histogram())
        before = self.before.get(key)
        return total if before is None else merged((grown(before, total),))


class Since(NamedTuple):
    """What was counted beside the legs since probes or filter were set, at ``t_ns``.

    The kernel counts wake-ups whatever the filter is.
    """

    absences: Mapping[AbsenceKey, int]
    wakeups: Mapping[int, Wakeups]
    drops: Mapping[DropKey, int]
    t_ns: int


@dataclass(frozen=True)
class Stats:
    """One ``stats`` frame against the one before.

    ``legs`` are those that a packet passed since probes or filter were set; ``samples`` hold what
    each leg grew by in ``seconds``, as do ``absences`` and ``wakeups`` (by tid) what was counted
    beside the legs.  ``totals`` and ``since`` (cumulative) and ``flows`` are dropped from the older
    moments of a history to bound its memory.
    """

    t_ns: int
    seconds: float
    legs: frozenset[LegKey]
    samples: Samples
    totals: Optional[Totals]
    flows: Optional[tuple[FlowRow, ...]]
    drops: tuple[DropRow, ...]
    accounts: Mapping[str, Account]
    trust: Trust
    hits: Mapping[str, int]
    absences: Mapping[AbsenceKey, int] = field(default_factory=dict)
    wakeups: Mapping[int, Woken] = field(default_factory=dict)
    since: Optional[Since] = None


@dataclass(frozen=True)
class Refusal:
    """A command that the agent did not carry out."""

    number: int
    error: VmlatError


@dataclass(frozen=True)
class Snapshot:
    """Everything known at one moment."""

    number: int = 0
    t_ns: int = 0
    wall_offset_ns: int = 0
    phase: Phase = Phase.CONNECTING
    hello: Optional[HelloFrame] = None
    topology: Optional[Topology] = None
    rates: Optional[Rates] = None
    #: What the probes got: the rung of the ladder, and the hook or the reason of every point.
    measuring: Optional[MeasuringFrame] = None
    #: What is measured, by the agent's own word; None where nothing is, or it has not said so.
    acknowledged: Optional[Requested] = None
    #: Number of the latest request that this agent carried out or refused; 0: of none.
    answered: int = 0
    #: What the host said it can measure, if it was asked.
    host: Optional[HostFrame] = None
    #: The vNICs that are measured now, by the latest ``links`` frame.
    watched: tuple[str, ...] = ()
    stats: Optional[Stats] = None
    #: The slowest single packets so far, slowest first, and the latest that were dropped.
    slowest: tuple[SeenPacket, ...] = ()
    dropped: tuple[DropFrame, ...] = ()
    notices: tuple[str, ...] = ()
    refusal: Optional[Refusal] = None
    problem: Optional[VmlatError] = None
    recording: Optional[str] = None

    @property
    def boot(self) -> Optional[str]:
        """The boot of the host that its times are of."""
        return self.hello.boot if self.hello else None

    @property
    def wall_ns(self) -> int:
        """Wall clock of the host at this moment."""
        return self.t_ns + self.wall_offset_ns


#: A history as the screens get it: oldest first, the last one is now.
Moments = tuple[Snapshot, ...]

NOTHING = Snapshot()


@dataclass(frozen=True)
class Place:
    """One moment of a history, and what came before it."""

    moments: Moments = field(default=(NOTHING,))
    index: int = 0

    @property
    def now(self) -> Snapshot:
        """The moment itself."""
        return self.moments[self.index]
