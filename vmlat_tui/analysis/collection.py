"""Readings of one measurement, joined by packet, in bounded memory.

Every observer writes what it saw into the row of its packet.  Where there are too many packets,
half of them lose their row, chosen by their number alone, so that all observers keep the same ones.
An echo sequence number has 16 bits: when an observer sees it start again, that is another lap, and
another packet.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from random import Random
from typing import Optional

from vmlat_tui.model.readings import Average, Packet, Reading
from vmlat_tui.model.segments import QUANTITIES

#: In a column: this packet has none.
ABSENT = -(1 << 63)
#: Packets that are kept singly at most, and half of which at least.
MOST_PACKETS = 200_000
#: Spreads numbers that follow each other over all of 64 bits.
_SPREAD = 0x9E3779B97F4A7C15
_HALF_WAY = 1 << 15


class Loose:
    """Values that belong to no row: exact sum and extremes of all, and an even sample."""

    def __init__(self, most: int) -> None:
        """Keeps at most so many."""
        self._most = most
        self._random = Random(0)
        self.count = 0
        self.total_ns = 0
        self.least_ns: Optional[int] = None
        self.most_ns: Optional[int] = None
        self.sample = array("q")

    def add(self, value_ns: int) -> None:
        """Count one."""
        if self.least_ns is None or value_ns < self.least_ns:
            self.least_ns = value_ns
        if self.most_ns is None or value_ns > self.most_ns:
            self.most_ns = value_ns
        self.count += 1
        self.total_ns += value_ns
        if len(self.sample) < self._most:
            self.sample.append(value_ns)
        else:
            place = self._random.randrange(self.count)
            if place < self._most:
                self.sample[place] = value_ns


class _Laps:
    """How often the sequence of one echo id has started again, for one observer."""

    def __init__(self) -> None:
        self.lap = 0
        self.last = 0

    def of(self, sequence: int) -> int:
        """The lap of this number; one that comes late belongs to the lap before."""
        step = sequence - self.last
        if step < -_HALF_WAY:
            self.lap += 1
        elif step > _HALF_WAY and self.lap:
            return self.lap - 1
        self.last = sequence
        return self.lap


def _stream(reading: Reading) -> str:
    """Whose numbering it is: a host's tools for E, L and U write logs of their own."""
    first = next(iter(reading.intervals_ns))
    if first[0] not in "ELU" or any(q[0] not in "ELU" for q in reading.intervals_ns):
        return QUANTITIES[first].observer.value
    return first[0]


class Collection:
    """A sink of readings.  For one thread."""

    def __init__(self, most_packets: int = MOST_PACKETS) -> None:
        """Nothing yet."""
        self._most = most_packets
        self._rows: dict[int, int] = {}
        self._keys = array("Q")
        self._columns: dict[str, array[int]] = {}
        self._loose: dict[str, Loose] = {}
        self._laps: dict[tuple[str, int], _Laps] = {}
        #: Averages that were given as such.
        self.averages: dict[str, Average] = {}
        # A packet has a row if its spread number begins with so many zeros.
        self._zeros = 0

    def add(self, reading: Reading) -> bool:
        """See :class:`vmlat_tui.model.readings.Sink`."""
        packet = reading.packet
        row = self._row(packet, reading) if packet is not None else None
        if row is None:
            for quantity, value_ns in reading.intervals_ns.items():
                self._loose_of(quantity).add(value_ns)
            return True
        new = False
        for quantity, value_ns in reading.intervals_ns.items():
            column = self._columns.get(quantity)
            if column is None:
                column = self._columns[QUANTITIES[quantity].id] = array("q")
            gap = row - len(column)
            if gap >= 0:
                if gap:
                    column.extend([ABSENT] * gap)
                column.append(value_ns)
                new = True
            elif column[row] == ABSENT:
                column[row] = value_ns
                new = True
        return new

    def state(self, quantity: str, average: Average) -> None:
        """See :class:`vmlat_tui.model.readings.Sink`."""
        self.averages[QUANTITIES[quantity].id] = average

    def _row(self, packet: Packet, reading: Reading) -> Optional[int]:
        stream = _stream(reading), packet.id
        laps = self._laps.get(stream)
        if laps is None:
            if len(self._laps) >= 4 * self._most:
                return None
            laps = self._laps[stream] = _Laps()
        key = laps.of(packet.sequence) << 32 | packet.id << 16 | packet.sequence
        row = self._rows.get(key)
        if row is not None:
            return row
        if len(self._rows) >= self._most:
            self._thin()
        if not self._chosen(key):
            return None
        row = self._rows[key] = len(self._rows)
        self._keys.append(key)
        return row

    def _chosen(self, key: int) -> bool:
        return not (key * _SPREAD & 0xFFFF_FFFF_FFFF_FFFF) >> (64 - self._zeros)

    def _thin(self) -> None:
        """Take their rows from half of the packets; their values count on without."""
        while len(self._rows) >= self._most:
            self._zeros += 1
            kept = [row for row, key in enumerate(self._keys) if self._chosen(key)]
            if not kept:
                kept = [0]
            self._keep(kept)

    def _keep(self, kept: Sequence[int]) -> None:
        chosen = set(kept)
        for quantity, column in self._columns.items():
            loose = self._loose_of(quantity)
            for row, value_ns in enumerate(column):
                if value_ns != ABSENT and row not in chosen:
                    loose.add(value_ns)
            self._columns[quantity] = array("q", (column[row] for row in kept if row < len(column)))
        self._keys = array("Q", (self._keys[row] for row in kept))
        self._rows = {key: row for row, key in enumerate(self._keys)}

    def _loose_of(self, quantity: str) -> Loose:
        loose = self._loose.get(quantity)
        if loose is None:
            loose = self._loose[QUANTITIES[quantity].id] = Loose(self._most)
        return loose

    # ---- what is there ------------------------------------------------------------------------

    @property
    def quantities(self) -> frozenset[str]:
        """Of which there is at least one value."""
        return frozenset((*self._columns, *self._loose, *self.averages))

    @property
    def joined_unevenly(self) -> tuple[int, ...]:
        """Echo ids whose laps the observers count differently: their packets cannot be joined."""
        laps: dict[int, set[int]] = {}
        for (_, number), counted in self._laps.items():
            laps.setdefault(number, set()).add(counted.lap)
        return tuple(sorted(number for number, seen in laps.items() if len(seen) > 1))

    @property
    def keyed(self) -> frozenset[str]:
        """Of which there are values that belong to a packet."""
        return frozenset(self._columns)

    @property
    def kept(self) -> float:
        """The share of packets that have a row."""
        return 0.5**self._zeros

    def packet(self, row: int) -> Packet:
        """The packet of a row."""
        key = self._keys[row]
        return Packet(key >> 16 & 0xFFFF, key & 0xFFFF)

    def rows_with(self, quantities: Iterable[str]) -> Sequence[int]:
        """The rows in which none of these is absent, in the order in which they were first seen."""
        columns = [self._columns.get(quantity) for quantity in quantities]
        if not columns or any(column is None for column in columns):
            return ()
        known = [column for column in columns if column is not None]
        uneven = set(self.joined_unevenly)
        # zip ends with the shortest column: behind it that quantity is absent.
        found = (row for row, values in enumerate(zip(*known)) if ABSENT not in values)
        if not uneven:
            return array("L", found)
        return array("L", (row for row in found if self.packet(row).id not in uneven))

    def value(self, quantity: str, row: int) -> Optional[int]:
        """One interval; None where it is absent."""
        column = self._columns.get(quantity)
        if column is None or row >= len(column) or column[row] == ABSENT:
            return None
        return column[row]

    def values(self, quantity: str, rows: Sequence[int]) -> list[int]:
        """The intervals of rows that have them."""
        column = self._columns[quantity]
        return [column[row] for row in rows]

    def all_values(self, quantity: str) -> tuple[list[int], int, int]:
        """All that are kept, and the count and sum of all that there were."""
        kept = [value for value in self._columns.get(quantity, ()) if value != ABSENT]
        count, total = len(kept), sum(kept)
        loose = self._loose.get(quantity)
        if loose is not None:
            kept.extend(loose.sample)
            if loose.count > len(loose.sample) and loose.least_ns is not None:
                # The sample may have lost them.
                kept += [loose.least_ns, loose.most_ns or 0]
            count, total = count + loose.count, total + loose.total_ns
        return kept, count, total
