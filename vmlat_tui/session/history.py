"""Bounded history of a stream: frames in, snapshots out.

One thread feeds it; the snapshots that it gives are immutable and belong to everybody.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import replace
from typing import Optional, TypeVar

from vmlat_tui.errors import VmlatError
from vmlat_tui.model.packets import DropFrame, PacketFrame, SeenPacket
from vmlat_tui.model.topology import Topology, Vitals
from vmlat_tui.protocol.frames import Frame, type_of
from vmlat_tui.protocol.session import (
    AckFrame,
    AttachingFrame,
    ErrorFrame,
    HelloFrame,
    HostFrame,
    LinksFrame,
    LostFrame,
    MeasuringFrame,
    NoticeFrame,
    ReleasedFrame,
)
from vmlat_tui.protocol.stats import StatsFrame
from vmlat_tui.recording.read import time_of
from vmlat_tui.session import rates
from vmlat_tui.session.snapshot import (
    Moments,
    Phase,
    Refusal,
    Snapshot,
)
from vmlat_tui.session.stats import ROWS, StatsReader, past
from vmlat_tui.session.weight import weight, weight_of

#: Moments kept, at one or two a second.
DEPTH = 200
#: Rows of flows kept over all moments but the newest.
_FLOW_ROWS = 10_000
#: Bytes of all moments but the newest, by :mod:`.weight`; beyond that the oldest go.
_BYTES = 64 << 20
#: Slowest packets of a vNIC and direction, and of all; the more vNICs, the fewer of each.
_SLOWEST, _ALL_SLOWEST = 30, 2000
_DROPPED = 200
_NOTICES = 50
#: These are kept as they are, or nearly.
_WHOLE = frozenset({"ack", "hello", "host", "links", "measuring", "topology"})
#: Of a name in a packet; the kernel's are shorter.
_NAME = 64


class Slowest:
    """The slowest packets of each vNIC and direction, never more than its room of each."""

    def __init__(self, room: int = _SLOWEST) -> None:
        """Keep ``room`` packets of each."""
        self._room = room
        self._heaps: dict[tuple[object, object], list[tuple[int, int, SeenPacket]]] = {}
        self._order = itertools.count()

    def add(self, packet: SeenPacket) -> bool:
        """Keep it if it is among the slowest; tell whether it is."""
        key = packet.vm_interface, packet.direction
        if key not in self._heaps:
            if len(self._heaps) >= _ALL_SLOWEST:
                return False
            self._heaps[key] = []
            self._room = max(1, min(self._room, _ALL_SLOWEST // len(self._heaps)))
            for heap in self._heaps.values():
                while len(heap) > self._room:
                    heapq.heappop(heap)
        heap = self._heaps[key]
        entry = (packet.total_ns, next(self._order), packet)
        if len(heap) < self._room:
            heapq.heappush(heap, entry)
            return True
        return heapq.heappushpop(heap, entry) is not entry

    def shift(self, later_ns: int) -> None:
        """Tell all of them by a clock that is so much ahead."""
        self._heaps = {
            key: [(total, order, _packet_shifted(p, later_ns)) for total, order, p in heap]
            for key, heap in self._heaps.items()
        }

    def ordered(self) -> tuple[SeenPacket, ...]:
        """Slowest first."""
        entries = (entry for heap in self._heaps.values() for entry in heap)
        return tuple(packet for _, _, packet in sorted(entries, reverse=True))


def shifted(moment: Snapshot, later_ns: int) -> Snapshot:
    """The same moment by a clock that is so much ahead; the wall clock stays what it was."""
    stats, found = moment.stats, moment.rates
    if stats is not None:
        flows = stats.flows and tuple(
            row._replace(first_ns=row.first_ns + later_ns, last_ns=row.last_ns + later_ns)
            for row in stats.flows
        )
        stats = replace(stats, t_ns=stats.t_ns + later_ns, flows=flows)
    return replace(
        moment,
        t_ns=moment.t_ns + later_ns,
        wall_offset_ns=moment.wall_offset_ns - later_ns,
        stats=stats,
        rates=found and replace(found, t_ns=found.t_ns + later_ns),
        slowest=tuple(_packet_shifted(packet, later_ns) for packet in moment.slowest),
        dropped=tuple(_packet_shifted(packet, later_ns) for packet in moment.dropped),
    )


_Packet = TypeVar("_Packet", bound=SeenPacket)


def _named_shortly(packet: _Packet) -> _Packet:
    """The packet, its names no longer than the kernel's."""
    names = [packet.process.comm, *(stage.comm for stage in packet.stages)]
    if all(len(name) <= _NAME for name in names if isinstance(name, str)):
        return packet
    stages = tuple(
        stage._replace(comm=stage.comm[:_NAME]) if isinstance(stage.comm, str) else stage
        for stage in packet.stages
    )
    process = packet.process._replace(comm=packet.process.comm[:_NAME])
    return replace(packet, process=process, stages=stages)


def _packet_shifted(packet: _Packet, later_ns: int) -> _Packet:
    stages = tuple(stage._replace(t_ns=stage.t_ns + later_ns) for stage in packet.stages)
    return replace(packet, stages=stages)


class History:
    """Takes frames one by one and knows the moments so far."""

    def __init__(self, depth: int = DEPTH) -> None:
        """``depth`` is the number of moments kept."""
        self._depth = depth
        self._past: deque[Snapshot] = deque()
        #: What each of them weighs, all of them, and what only the newest moment keeps so far.
        self._weights: deque[int] = deque()
        self._weight = self._more = 0
        self._told: set[str] = set()
        self._now = Snapshot()
        self._vitals: Optional[Vitals] = None
        self._reader = StatsReader()
        self._slowest = Slowest()
        self._fresh_packets = False

    def moments(self) -> Moments:
        """Oldest first; the last one is now."""
        if self._fresh_packets:
            self._fresh_packets = False
            self._now = replace(self._now, slowest=self._slowest.ordered())
        return (*self._past, self._now)

    def take(self, frame: Frame) -> None:
        """Account for one frame that was decoded; raises :class:`VmlatError` for a wrong hello."""
        kind = type_of(frame)
        handler = getattr(self, f"_take_{kind}", None)
        if handler is not None:
            handler(frame)
        if kind in _WHOLE:
            self._more += weight_of(frame)
        t_ns = time_of(frame)
        if t_ns is not None and t_ns > self._now.t_ns:
            self._now = replace(self._now, t_ns=t_ns)

    def note(self, phase: Phase, problem: Optional[VmlatError] = None) -> None:
        """The stream itself changed: it ended, or it failed."""
        self._now = replace(self._now, phase=phase, problem=problem)

    def recording(self, path: Optional[str]) -> None:
        """Where the stream is recorded, if it is."""
        self._now = replace(self._now, recording=path)

    def complain(self, error: VmlatError) -> None:
        """Something asked for was refused."""
        number = self._now.refusal.number + 1 if self._now.refusal else 1
        phase = Phase.WATCHING if self._now.phase is Phase.ATTACHING else self._now.phase
        self._now = replace(self._now, refusal=Refusal(number, error), phase=phase)

    # ---- one method per type of frame ---------------------------------------------------------

    def _take_hello(self, frame: HelloFrame) -> None:
        if self._now.hello is not None:
            self._begin_anew(frame)
        self._now = replace(
            self._now,
            hello=frame,
            phase=Phase.WATCHING,
            problem=None,
            wall_offset_ns=frame.wall_offset_ns,
        )
        if frame.points and frame.rung:
            t_ns = frame.clock.mono_ns
            self._take_measuring(MeasuringFrame(t_ns, frame.rung, str(frame.offsets), frame.points))

    def _begin_anew(self, hello: HelloFrame) -> None:
        """Another agent after a lost connection: nothing is counted across the gap."""
        self._begin_moment()
        self._reader, self._vitals = StatsReader(), None
        self._now = replace(
            self._now,
            measuring=None,
            acknowledged=None,
            answered=0,
            host=None,
            watched=(),
            stats=None,
            rates=None,
        )
        if hello.boot != self._now.boot:
            # The host's clock began anew as well: what is kept is converted to the new one.
            later_ns = self._now.wall_offset_ns - hello.wall_offset_ns
            self._past = deque(shifted(m, later_ns) for m in self._past)
            self._now = shifted(self._now, later_ns)
            self._slowest.shift(later_ns)

    def _take_lost(self, frame: LostFrame) -> None:
        when = f"in {frame.wait_s:.0f} s" if frame.wait_s else "is being made"
        problem = VmlatError(frame.title, frame.cause, f"attempt {frame.attempt} {when}")
        self._now = replace(self._now, phase=Phase.LOST, problem=problem)

    def _take_host(self, frame: HostFrame) -> None:
        self._now = replace(self._now, host=frame)

    def _take_attaching(self, frame: AttachingFrame) -> None:
        self._now = replace(self._now, phase=Phase.ATTACHING)

    def _take_measuring(self, frame: MeasuringFrame) -> None:
        # The counters of new probes begin at zero.
        self._begin_moment()
        self._reader = StatsReader(frame.t_ns or self._now.t_ns)
        self._now = replace(
            self._now, measuring=frame, acknowledged=None, stats=None, phase=Phase.MEASURING
        )

    def _take_released(self, frame: ReleasedFrame) -> None:
        self._begin_moment()
        self._reader = StatsReader()
        self._now = replace(
            self._now,
            measuring=None,
            acknowledged=None,
            stats=None,
            watched=(),
            phase=Phase.WATCHING,
        )

    def _take_ack(self, frame: AckFrame) -> None:
        before, requested = self._now.acknowledged, frame.requested
        if requested is None or self._now.measuring is None:
            return
        self._answer(frame.id)
        if before is not None and not requested.same_packets(before):
            # Other packets are counted from here on: nothing reaches back beyond this.
            self._begin_moment()
            self._reader.rebase()
            self._now = replace(self._now, measuring=replace(self._now.measuring), stats=None)
        self._now = replace(self._now, acknowledged=requested)

    def _answer(self, number: Optional[int]) -> None:
        if number is not None:
            self._now = replace(self._now, answered=max(self._now.answered, number))

    def _take_topology(self, topology: Topology) -> None:
        self._now = replace(self._now, topology=topology)

    def _take_vitals(self, vitals: Vitals) -> None:
        found = rates.between(self._vitals, vitals) if self._vitals else None
        self._vitals = vitals
        if found is None:
            return
        if self._now.phase is not Phase.MEASURING:
            self._begin_moment()
        self._now = replace(self._now, rates=found)

    def _take_links(self, frame: LinksFrame) -> None:
        self._now = replace(self._now, watched=tuple(one.name for one in frame.vm_interfaces))

    def _take_packet(self, frame: PacketFrame) -> None:
        frame = _named_shortly(frame)
        if self._slowest.add(frame):
            self._fresh_packets = True
            self._more += weight_of(frame)

    def _take_drop(self, frame: DropFrame) -> None:
        frame = _named_shortly(frame)
        self._more += weight_of(frame)
        self._now = replace(self._now, dropped=(frame, *self._now.dropped[: _DROPPED - 1]))

    def _take_notice(self, frame: NoticeFrame) -> None:
        self._notice(frame.text)

    def _notice(self, text: str) -> None:
        self._now = replace(self._now, notices=(*self._now.notices[1 - _NOTICES :], text))

    def _say_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._notice(text)

    def _take_error(self, frame: ErrorFrame) -> None:
        self._answer(frame.number)
        self.complain(frame.exception)

    def _take_stats(self, frame: StatsFrame) -> None:
        stats = self._reader.read(frame)
        self._begin_moment()
        self._now = replace(self._now, stats=stats)
        if self._reader.left_out:
            self._say_once(f"the host reports more than {ROWS} rows at once: the rest is left out")

    # ---- moments ------------------------------------------------------------------------------

    def _begin_moment(self) -> None:
        """What was now is past; a new moment begins."""
        last = self._now
        if last.stats is None and last.rates is None:
            return
        if last.stats is not None:
            last = replace(last, stats=past(last.stats))
        self._past.append(last)
        self._weights.append(weight(last) + self._more)
        self._weight += self._weights[-1]
        self._more = 0
        self._forget()
        self._forget_flows()
        self._now = replace(self._now, number=self._now.number + 1)

    def _forget(self) -> None:
        """The oldest moments, when there are too many or they are too large."""
        while len(self._past) > self._depth or self._weight > _BYTES:
            if len(self._past) <= self._depth:
                self._say_once("the host reports so much that less of the past than usual is kept")
            self._past.popleft()
            self._weight -= self._weights.popleft()

    def _forget_flows(self) -> None:
        rows = 0
        for at in range(len(self._past) - 1, -1, -1):
            stats = self._past[at].stats
            if stats is None:
                continue
            if stats.flows is None:
                return
            rows += len(stats.flows)
            if rows > _FLOW_ROWS:
                self._past[at] = replace(self._past[at], stats=replace(stats, flows=None))
