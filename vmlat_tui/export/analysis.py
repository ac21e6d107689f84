"""All that is said of one measurement, wherever its readings come from: tables, then remarks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Optional

from vmlat_tui.analysis.decomposition import Decomposition
from vmlat_tui.analysis.slow import single_packets, slow, slowest
from vmlat_tui.export.exporter import Document, Part, Remark
from vmlat_tui.ping.measurement import ImportedMeasurement, remarks
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.tables import decomposition as tables
from vmlat_tui.tables import sources
from vmlat_tui.tables.grid import Grid
from vmlat_tui.words import clean


@dataclass(frozen=True)
class Shown:
    """How many single packets, and what is slow (ns; None: a tenth)."""

    packets: int = 10
    slow_ns: Optional[int] = None


def grids(found: Decomposition, shown: Shown) -> Iterator[Grid[Any]]:
    """All tables: single packets first."""
    single = single_packets(found)
    if single is not None and shown.packets:
        yield tables.packets(single, slowest(single, shown.packets))
    yield from tables.tables(found)
    blamed = slow(single, shown.slow_ns) if single is not None else None
    if blamed is not None:
        yield tables.blames(blamed)
    if found.closures:
        yield tables.closures(found)


def document(found: Decomposition, first: Grid[Any], said: Iterable[str], shown: Shown) -> Document:
    """For people; ``first`` says what the readings are from."""
    title = f"Ping analysis: {clean(found.name)}"
    return Document(title, (first, *grids(found, shown)), (), [*map(Remark, said)])


@dataclass(frozen=True)
class Analysis(Part):
    """What ``vmlat analyze`` prints."""

    measurement: ImportedMeasurement
    shown: Shown

    def document(self) -> Document:
        """What was read, the tables, remarks."""
        read = self.measurement.imported.sources
        said = [*remarks(self.measurement), *sources.troubles(read)]
        return document(self.measurement.found, sources.grid(read), said, self.shown)

    def values(self) -> Iterator[Raw]:
        """In this order: analysis, source…, packet…, row…, remark…; of packets every one."""
        return _objects(self.measurement, self.shown.slow_ns)


def _objects(measurement: ImportedMeasurement, slow_ns: Optional[int]) -> Iterator[Raw]:
    found = measurement.found
    single = single_packets(found)
    yield {
        "type": "analysis",
        "name": found.name,
        "quantities": sorted(found.available),
        "joined": len(found.rows),
    }
    for source in measurement.imported.sources:
        yield sources.source_json(source)
    if single is not None:
        yield from tables.packet_json(single, single.rows)
    for grid in grids(found, Shown(0, slow_ns)):
        for row, value in zip(grid.rows, grid.json()):
            printed = {"as_printed": row.beside} if isinstance(row, tables.FigureRow) else {}
            yield {**value, **printed}
    for remark in remarks(measurement):
        yield {"type": "remark", "text": remark}
