"""Measures what one test did with an engine that a whole module shares."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from tests.native.net import Bed, wait_until
from vmlat_tui.discover.links import interfaces as discovery
from vmlat_tui.model.bins import Account, Bin
from vmlat_tui.model.flows import Filter
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.points import Direction, step
from vmlat_tui.probes.engine import PathEngine, Settings
from vmlat_tui.probes.layout import PacketRecord
from vmlat_tui.probes.reading import DropTotals, FlowTotals, KernelCounts

TX, RX = Direction.TX, Direction.RX
VNET_RX = step("vnet_rx", TX).number
PHY_QUEUE = step("phy_queue", TX).number
PHY_XMIT = step("phy_xmit", TX).number
PHY_GRO = step("phy_gro", RX).number
PHY_RX = step("phy_rx", RX).number
VNET_QUEUE = step("vnet_queue", RX).number
TUN_OUT = step("tun_out", RX).number
SILENT = Settings(emit=False, detail=False)


def difference(now: Histogram, before: Optional[Histogram]) -> Histogram:
    """What was counted in between; the maximum is the later one's."""
    if before is None:
        return now
    grown = {
        b: count - before.buckets.get(b, 0)
        for b, count in now.buckets.items()
        if count != before.buckets.get(b, 0)
    }
    return Histogram(now.count - before.count, now.sum_ns - before.sum_ns, now.max_ns, grown)


@dataclass
class Result:
    """Differences between the beginning and the end of a measurement.

    ``legs`` by (slot, leg id).
    """

    accounts: dict[Direction, Account]
    legs: dict[tuple[int, str], Histogram]
    flows: list[FlowTotals]
    drops: list[DropTotals]
    counters: dict[str, int]
    hits: list[int]

    def bin(self, which: Bin, direction: Direction = TX) -> int:
        """How many packets ended there."""
        return self.accounts[direction].bins[which]

    def started(self, direction: Direction = TX) -> int:
        """How many packets started."""
        return self.accounts[direction].started


def _copy(histogram: Histogram) -> Histogram:
    whole = Histogram()
    whole.merge(histogram)
    return whole


class Meter:
    """One engine on one bed."""

    def __init__(self, engine: PathEngine, bed: Bed) -> None:
        self.engine = engine
        self.bed = bed
        self.vnets: tuple[str, ...] = tuple(tap.name for tap in bed.taps)
        self.refresh()
        self._before: Optional[KernelCounts] = None
        self._legs: dict[tuple[int, str], Histogram] = {}

    def refresh(self, vnets: Optional[Sequence[str]] = None) -> discovery.Selection:
        """Look at the interfaces again."""
        if vnets is not None:
            self.vnets = tuple(vnets)
        links = discovery.read_links()
        selection = discovery.select_links(links, self.vnets, [self.bed.uplink])
        self.engine.set_links(selection, links)
        return selection

    def begin(
        self, settings: Settings = SILENT, filters: Sequence[Filter] = (), clear: bool = True
    ) -> None:
        """Start to count; packets of an earlier test are forgotten."""
        self.engine.configure(Settings(directions=()))
        if clear:
            self.forget()
        self.engine.set_filters(list(filters))
        self._before = self.engine.read()
        self._legs = {(slot, leg.id): _copy(h) for (slot, leg), h in self._before.legs.items()}
        self.engine.configure(settings)

    def forget(self) -> None:
        """Give up what is still on the way and what waits in the ring."""
        while self.engine.packets():
            pass
        self.engine._reader.sweep(1 << 30, 0, time.monotonic_ns())

    def result(self) -> Result:
        """What happened since :meth:`begin`."""
        now, before = self.engine.read(), self._before
        assert before is not None
        accounts = {}
        for d in Direction:
            bins = {b: now.accounts[d].bins[b] - before.accounts[d].bins[b] for b in Bin}
            accounts[d] = Account(now.accounts[d].started - before.accounts[d].started, bins)
        legs = {}
        for (slot, leg), histogram in now.legs.items():
            grown = difference(_copy(histogram), self._legs.get((slot, leg.id)))
            if grown.count:
                legs[slot, leg.id] = grown
        earlier = {(f.flow, f.direction, f.slot): f for f in before.flows}
        flows = []
        for f in now.flows:
            old = earlier.get((f.flow, f.direction, f.slot))
            packets = f.packets - (old.packets if old else 0)
            if packets:
                length = f.bytes - (old.bytes if old else 0)
                flows.append(
                    FlowTotals(f.flow, f.direction, f.slot, packets, length, f.first_ns, f.last_ns)
                )
        gone = {_place(d): d.count for d in before.drops}
        drops = [
            DropTotals(*_place(d), d.count - gone.get(_place(d), 0))
            for d in now.drops
            if d.count != gone.get(_place(d), 0)
        ]
        counters = {k: v - before.counters[k] for k, v in now.counters.items()}
        hits = [a - b for a, b in zip(now.hits, before.hits)]
        return Result(accounts, legs, flows, drops, counters, hits)

    def completed_into_vm(self, count: int, direction: Direction = RX) -> bool:
        """Whether ``count`` packets get through to the VM, which reads its tap meanwhile."""

        def arrived() -> bool:
            self.bed.tap.drain()
            return self.result().bin(Bin.COMPLETED, direction) == count

        return wait_until(arrived)

    def packets(self, count: int = 0, seconds: float = 2.0) -> list[PacketRecord]:
        """The records of single packets: at least ``count`` unless time runs out."""
        got: list[PacketRecord] = []
        deadline = time.monotonic() + seconds
        while True:
            new = self.engine.packets()
            got += new
            if not new and (len(got) >= count or time.monotonic() > deadline):
                return got


def _place(d: DropTotals) -> tuple[Direction, int, int, int, int, int]:
    return (d.direction, d.slot, d.last_step, d.hook, d.reason, d.location)


_symbols: list[tuple[int, str]] = []


def function_at(address: int) -> str:
    """The kernel function that contains an address."""
    if not _symbols:
        for line in Path("/proc/kallsyms").read_text().splitlines():
            fields = line.split()
            if fields[1] in "tTwW":
                _symbols.append((int(fields[0], 16), fields[2]))
        _symbols.sort()
    below = [name for start, name in _symbols if start <= address]
    return below[-1] if below else ""


def latencies(record: PacketRecord) -> list[int]:
    """The legs of one packet in path order, in nanoseconds."""
    times = [record.times[s] for s in sorted(record.times)]
    return [b - a for a, b in zip(times, times[1:])]
