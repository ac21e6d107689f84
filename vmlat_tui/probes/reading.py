"""Reads what the path program counted.  For the agent's one thread."""

from __future__ import annotations

from dataclasses import dataclass

from vmlat_tui.model.absences import ABSENCE_ROOM, ABSENCES, Absence
from vmlat_tui.model.bins import Account, Bin
from vmlat_tui.model.flows import Flow
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.legs import Leg, LegTable
from vmlat_tui.model.points import Direction
from vmlat_tui.probes import layout
from vmlat_tui.probes.layout import PacketRecord
from vmlat_tui.probes.program import Program
from vmlat_tui.probes.syscalls import Map
from vmlat_tui.probes.widen import Widener

#: The table that a packet on the way is in, its key and its state.
_State = tuple[Map, bytes, bytes]

_ZERO = bytes(4)


@dataclass(frozen=True)
class FlowTotals:
    """Traffic of one flow in one direction of one vNIC since the start; times in ns."""

    flow: Flow
    direction: Direction
    slot: int
    packets: int
    bytes: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True)
class DropTotals:
    """Packets dropped at one place for one reason."""

    direction: Direction
    slot: int
    last_step: int
    hook: int
    reason: int
    location: int
    count: int


@dataclass(frozen=True)
class KernelCounts:
    """Everything counted since the program was loaded; ``legs`` by (slot, leg).

    ``flows`` are those that had traffic since the reading before; of an exact one, all.
    """

    accounts: dict[Direction, Account]
    legs: dict[tuple[int, Leg], Histogram]
    flows: list[FlowTotals]
    drops: list[DropTotals]
    hits: list[int]
    counters: dict[str, int]
    #: (slot, why points were left out) -> packets.
    absences: dict[tuple[int, Absence], int]


class Reader:
    """Adds up the processors, widens 32-bit buckets, and accounts for what expired."""

    def __init__(self, program: Program, table: LegTable, slots: int, flows: int) -> None:
        """``slots`` and ``flows`` are the sizes of the program's tables."""
        self._statistics = program.mapped("statistics")
        self._legs = program.mapped("legs")
        self._flows = program.map("flows")
        self._drops = program.map("drops")
        self._absences = program.mapped("absences")
        self._absences_before: dict[int, list[int]] = {}
        self._slots = slots
        self._packets = program.map("packets")
        self._taken = program.map("taken")
        self._parked = program.map("parked")
        self._parked_count = program.map("parked_count")
        self._numbered = table.numbered
        self._room = table.room
        self._legs_of_processor = table.room * slots
        self._expired = dict.fromkeys(Direction, 0)
        self._sums: dict[int, Histogram] = {}
        self._widener = Widener()
        self._counts: list[int] = []
        self._flow_values: dict[bytes, bytes] = {}
        self._flow_room = flows * 3 // 4
        #: Flows that were forgotten to make room for others, and their packets.
        self.flows_evicted = self.flow_packets_evicted = 0

    def read(self, exact: bool) -> KernelCounts:
        """One consistent-enough view: maps are read one after another while packets go on.

        What is in flight is counted by looking at every state if ``exact``, else it is the rest.
        """
        flows = self._read_flows(everything=exact)
        drops = []
        for key, value in self._drops.items():
            location, reason, direction, slot, last, hook, count = layout.drop_entry(key, value)
            drops.append(
                DropTotals(Direction(direction), slot, last, hook, reason, location, count)
            )
        legs = self._read_legs()
        in_flight = self._in_flight() if exact else None
        statistics = layout.statistics(self._statistics.all())
        accounts = {}
        for d in Direction:
            bins: dict[Bin, int] = {b: statistics.bins[d][b] for b in layout.KERNEL_BINS}
            bins[Bin.EXPIRED] += self._expired[d]
            rest = statistics.started[d] - sum(bins.values())
            bins[Bin.IN_FLIGHT] = max(rest, 0) if in_flight is None else in_flight[d]
            accounts[d] = Account(statistics.started[d], bins)
        counters = {
            **statistics.counters,
            "flows_evicted": self.flows_evicted,
            "flow_packets_evicted": self.flow_packets_evicted,
            "unplaced": self._widener.unplaced,
        }
        return KernelCounts(
            accounts, legs, flows, drops, statistics.hits, counters, self._read_absences()
        )

    def _read_absences(self) -> dict[tuple[int, Absence], int]:
        counts = self._absences.first_words()
        found = {}
        for slot in range(self._slots):
            forgotten = self._absences_before.get(slot, [0] * ABSENCE_ROOM)
            for absence in ABSENCES:
                first = slot * ABSENCE_ROOM + absence.number
                count = sum(counts[first :: self._slots * ABSENCE_ROOM])
                count -= forgotten[absence.number]
                if count:
                    found[slot, absence] = count
        return found

    def _read_flows(self, everything: bool) -> list[FlowTotals]:
        now = dict(self._flows.items())
        before, self._flow_values = self._flow_values, now
        if len(now) > self._flow_room and not everything:
            self._forget_flows(now)
        return [
            FlowTotals(flow, Direction(direction), slot, *totals)
            for flow, direction, slot, totals in (
                layout.flow_entry(key, value)
                for key, value in now.items()
                if everything or before.get(key) != value
            )
        ]

    def _forget_flows(self, flows: dict[bytes, bytes]) -> None:
        """Make room for new flows: a third of them goes, those without traffic for longest."""
        oldest = sorted(flows, key=lambda key: layout.flow_last_ns(flows[key]))
        for key in oldest[: len(oldest) // 3]:
            last = self._flows.get(key)
            if last is not None:
                packets = layout.flow_packets(bytes(last))
                if self._flows.delete(key):
                    self.flows_evicted += 1
                    self.flow_packets_evicted += packets

    def forget(self, slot: int) -> None:
        """Drop what was counted of a slot; the bins of all vNICs together stay."""
        self._absences_before.pop(slot, None)
        absences = {a.number: n for (s, a), n in self._read_absences().items() if s == slot}
        self._absences_before[slot] = [absences.get(n, 0) for n in range(ABSENCE_ROOM)]
        self._read_legs()
        self._sums = {i: h for i, h in self._sums.items() if i // self._room != slot}
        for key, value in self._flows.items():
            if layout.flow_entry(key, value)[2] == slot:
                self._flows.delete(key)
        for key, value in self._drops.items():
            if layout.drop_entry(key, value)[3] == slot:
                self._drops.delete(key)

    def _read_legs(self) -> dict[tuple[int, Leg], Histogram]:
        counts = self._legs.first_words()
        before = self._counts or [0] * len(counts)
        for place, (now, then) in enumerate(zip(counts, before)):
            if now != then:
                self._add(place, layout.leg(self._legs[place]))
        self._counts = counts
        return {
            (index // self._room, self._numbered[index % self._room]): histogram
            for index, histogram in self._sums.items()
        }

    def _add(self, place: int, now: Histogram) -> None:
        change = self._widener.grown(place, now)
        self._sums.setdefault(place % self._legs_of_processor, Histogram()).merge(change)

    def _states(self) -> list[_State]:
        """Every packet on the way."""
        return self._on_the_way(self._packets.items())

    def _on_the_way(self, packets: list[tuple[bytes, bytes]]) -> list[_State]:
        found = [(self._packets, k, v) for k, v in packets if layout.packet_state(v)[0]]
        found += [(self._taken, k, v) for k, v in self._taken.items() if layout.packet_state(v)[0]]
        return found + [(self._parked, k, v) for k, v in self._parked.items()]

    def _in_flight(self) -> dict[Direction, int]:
        counts = dict.fromkeys(Direction, 0)
        for _, _, state in self._states():
            counts[Direction(layout.packet_state(state)[1])] += 1
        return counts

    def waiting(self) -> int:
        """How many packets are on the way."""
        return len(self._states())

    def sweep(
        self, capacity: int, unused_since_ns: int, expired_before_ns: int
    ) -> tuple[list[PacketRecord], bool]:
        """Expire what was lost from sight, and make room; one look at the tables for both.

        Returns the packets without a step since ``expired_before_ns``, which are removed and
        accounted for, and whether the table of ``capacity`` states was more than half full: then
        finished states unused since ``unused_since_ns`` are forgotten.
        """
        packets = self._packets.items()
        crowded = len(packets) > capacity // 2
        if crowded:
            for key, state in packets:
                active, _, last_ns = layout.packet_state(state)
                if not active and last_ns < unused_since_ns:
                    self._packets.delete(key)
        return self._expire(self._on_the_way(packets), expired_before_ns), crowded

    def _expire(self, states: list[_State], before_ns: int) -> list[PacketRecord]:
        gone = []
        for table, key, state in states:
            _, direction, last_ns = layout.packet_state(state)
            if last_ns >= before_ns:
                continue
            now = table.get(key)
            if now is None or bytes(now) != state:
                continue  # it has gone on since the table was copied
            if table.delete(key):
                self._expired[Direction(direction)] += 1
                gone.append(layout.packet(state))
                if table is self._parked:
                    self._count_parked(-1)
        return gone

    def _count_parked(self, change: int) -> None:
        # The kernel adds atomically; a lost update here only costs or saves lookups.
        value = self._parked_count.get(_ZERO)
        if value is not None:
            count = int.from_bytes(value[:8], "little", signed=True) + change
            self._parked_count.put(_ZERO, max(count, 0).to_bytes(8, "little"))
