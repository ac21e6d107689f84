"""All that is said of one measurement, wherever its readings come from: tables, then remarks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Optional

from vmlat_tui.analysis.decomposition import Decomposition
from vmlat_tui.analysis.slow import single_packets, slow, slowest
from vmlat_tui.ping.measurement import ImportedMeasurement, remarks
from vmlat_tui.tables import decomposition as tables
from vmlat_tui.tables import sources
from vmlat_tui.tables.grid import Grid, escaped
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


def document(
    found: Decomposition, first: Grid[Any], said: Iterable[str], shown: Shown, markdown: bool
) -> Iterator[str]:
    """The lines of text or Markdown; ``first`` says what the readings are from."""
    name = clean(found.name)
    yield f"## Ping analysis: {escaped(name)}" if markdown else f"Ping analysis: {name}"
    yield ""
    for grid in (first, *grids(found, shown)):
        yield from grid.markdown() if markdown else grid.text()
        yield ""
    yield "### Remarks" if markdown else "Remarks"
    if markdown:
        yield ""
    for line in said:
        yield f"- {escaped(line.strip())}" if markdown else f"  {line}"


def objects(
    measurement: ImportedMeasurement, slow_ns: Optional[int]
) -> Iterator[dict[str, object]]:
    """What ``--json`` prints, in this order: analysis, source…, packet…, row…, remark…."""
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
