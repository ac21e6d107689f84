"""Bounded history of a stream: frames in, snapshots out.

One thread feeds it; the snapshots that it gives are immutable and belong to everybody.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import replace
from typing import Optional

from vmlat_tui.errors import VmlatError
from vmlat_tui.model.requested import Requested
from vmlat_tui.model.topology import Topology, Vitals
from vmlat_tui.protocol.frames import Frame, check_hello, error_of
from vmlat_tui.recording.read import time_of
from vmlat_tui.session import rates
from vmlat_tui.session.snapshot import (
    Measuring,
    Moments,
    Phase,
    Refusal,
    Snapshot,
)
from vmlat_tui.session.stats import ROWS, StatsReader, past
from vmlat_tui.session.weight import weight, weight_of_json

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
        self._heaps: dict[tuple[object, object], list[tuple[int, int, Frame]]] = {}
        self._order = itertools.count()

    def add(self, packet: Frame) -> bool:
        """Keep it if it is among the slowest; tell whether it is."""
        key = packet["vm_interface"], packet["direction"]
        if key not in self._heaps:
            if len(self._heaps) >= _ALL_SLOWEST:
                return False
            self._heaps[key] = []
            self._room = max(1, min(self._room, _ALL_SLOWEST // len(self._heaps)))
            for heap in self._heaps.values():
                while len(heap) > self._room:
                    heapq.heappop(heap)
        heap = self._heaps[key]
        entry = (int(packet["total_ns"]), next(self._order), packet)
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

    def ordered(self) -> tuple[Frame, ...]:
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


def _named_shortly(packet: Frame) -> Frame:
    """The packet, its names no longer than the kernel's."""
    stages = packet["stages"]
    named = (packet["process"], *stages)
    if all(len(task.get("comm") or "") <= _NAME for task in named):
        return packet
    process, *stages = ({**task, "comm": (task.get("comm") or "")[:_NAME]} for task in named)
    return {**packet, "process": process, "stages": stages}


def _packet_shifted(packet: Frame, later_ns: int) -> Frame:
    stages = [{**stage, "t_ns": stage["t_ns"] + later_ns} for stage in packet["stages"]]
    return {**packet, "stages": stages}


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
        kind = frame["type"]
        handler = getattr(self, f"_take_{kind}", None)
        if handler is not None:
            handler(frame)
        if kind in _WHOLE:
            self._more += weight_of_json(frame)
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

    def _take_hello(self, frame: Frame) -> None:
        check_hello(frame)
        clock = frame["clock"]
        wall_offset_ns = int(clock["wall_ns"]) - int(clock["mono_ns"])
        if self._now.hello is not None:
            self._begin_anew(frame, wall_offset_ns)
        self._now = replace(
            self._now,
            hello=frame,
            phase=Phase.WATCHING,
            problem=None,
            wall_offset_ns=wall_offset_ns,
        )
        if frame.get("points") and frame.get("rung"):
            self._take_measuring(frame)

    def _begin_anew(self, hello: Frame, wall_offset_ns: int) -> None:
        """Another agent after a lost connection: nothing is counted across the gap."""
        self._turn()
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
        if hello.get("boot") != self._now.boot:
            # The host's clock began anew as well: what is kept is told by the new one.
            later_ns = self._now.wall_offset_ns - wall_offset_ns
            self._past = deque(shifted(m, later_ns) for m in self._past)
            self._now = shifted(self._now, later_ns)
            self._slowest.shift(later_ns)

    def _take_lost(self, frame: Frame) -> None:
        wait_s = float(frame["wait_s"])
        when = f"in {wait_s:.0f} s" if wait_s else "is being made"
        problem = VmlatError(
            str(frame["title"]), str(frame["cause"]), f"attempt {int(frame['attempt'])} {when}"
        )
        self._now = replace(self._now, phase=Phase.LOST, problem=problem)

    def _take_host(self, frame: Frame) -> None:
        self._now = replace(self._now, host=frame)

    def _take_attaching(self, frame: Frame) -> None:
        self._now = replace(self._now, phase=Phase.ATTACHING)

    def _take_measuring(self, frame: Frame) -> None:
        measuring = Measuring(
            str(frame["rung"]), str(frame.get("offsets")), tuple(frame.get("points") or ())
        )
        # The counters of new probes begin at zero.
        self._turn()
        self._reader = StatsReader(time_of(frame) or self._now.t_ns)
        self._now = replace(
            self._now, measuring=measuring, acknowledged=None, stats=None, phase=Phase.MEASURING
        )

    def _take_released(self, frame: Frame) -> None:
        self._turn()
        self._reader = StatsReader()
        self._now = replace(
            self._now,
            measuring=None,
            acknowledged=None,
            stats=None,
            watched=(),
            phase=Phase.WATCHING,
        )

    def _take_ack(self, frame: Frame) -> None:
        if "requested" not in frame or self._now.measuring is None:
            return
        self._answer(frame)
        before, requested = self._now.acknowledged, Requested.from_json(frame["requested"])
        if before is not None and not requested.same_packets(before):
            # Other packets are counted from here on: nothing reaches back beyond this.
            self._turn()
            self._reader.rebase()
            self._now = replace(self._now, measuring=replace(self._now.measuring), stats=None)
        self._now = replace(self._now, acknowledged=requested)

    def _answer(self, frame: Frame) -> None:
        number = frame.get("id")
        if number is not None:
            self._now = replace(self._now, answered=max(self._now.answered, number))

    def _take_topology(self, frame: Frame) -> None:
        self._now = replace(self._now, topology=Topology.from_json(frame))

    def _take_vitals(self, frame: Frame) -> None:
        vitals = Vitals.from_json(frame)
        found = rates.between(self._vitals, vitals) if self._vitals else None
        self._vitals = vitals
        if found is None:
            return
        if self._now.phase is not Phase.MEASURING:
            self._turn()
        self._now = replace(self._now, rates=found)

    def _take_links(self, frame: Frame) -> None:
        names = tuple(str(v["name"]) for v in frame["vm_interfaces"])
        self._now = replace(self._now, watched=names)

    def _take_packet(self, frame: Frame) -> None:
        frame = _named_shortly(frame)
        if self._slowest.add(frame):
            self._fresh_packets = True
            self._more += weight_of_json(frame)

    def _take_drop(self, frame: Frame) -> None:
        frame = _named_shortly(frame)
        self._more += weight_of_json(frame)
        self._now = replace(self._now, dropped=(frame, *self._now.dropped[: _DROPPED - 1]))

    def _take_notice(self, frame: Frame) -> None:
        self._notice(str(frame["text"]))

    def _notice(self, text: str) -> None:
        self._now = replace(self._now, notices=(*self._now.notices[1 - _NOTICES :], text))

    def _say_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._notice(text)

    def _take_error(self, frame: Frame) -> None:
        self._answer(frame)
        self.complain(error_of(frame))

    def _take_stats(self, frame: Frame) -> None:
        stats = self._reader.read(frame)
        self._turn()
        self._now = replace(self._now, stats=stats)
        if self._reader.left_out:
            self._say_once(f"the host tells more than {ROWS} rows at once: the rest is left out")

    # ---- moments ------------------------------------------------------------------------------

    def _turn(self) -> None:
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
                self._say_once("the host tells so much that less of the past than usual is kept")
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
