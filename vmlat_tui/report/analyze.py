"""``vmlat analyze``: a ping between two guests, segment by segment, from what was written down."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from vmlat_tui.analysis.slow import single_packets, slow, slowest
from vmlat_tui.errors import UsageError
from vmlat_tui.report import decomposition as tables
from vmlat_tui.report import sources
from vmlat_tui.report.grid import Grid, escaped
from vmlat_tui.report.measurement import (
    Measurement,
    add_options,
    ends_of,
    format_of,
    load,
    microseconds_of,
    remarks,
)
from vmlat_tui.report.words import clean


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``vmlat analyze``."""
    parser.description = (
        "Split the round trip of a ping between two VMs on two hosts into segments, from logs of "
        "kernel_icmp_rtt, icmp_drop_detector, tun_tx_to_kvm_irq and the like, captures and "
        "recordings of vmlat, or a file of published averages. Times are in microseconds."
    )
    parser.add_argument("paths", metavar="DIR|FILE", nargs="+", help="all of one measurement")
    parser.add_argument(
        "--packets", metavar="N", default="10", help="single packets to show (default 10)"
    )
    parser.add_argument(
        "--slow", metavar="US", help="packets that took so long are slow (default: a tenth)"
    )
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the analysis."""
    slow_ns = microseconds_of(args.slow, "--slow")
    if not args.packets.isdecimal() or len(args.packets) > 7:
        raise UsageError(f"--packets {clean(args.packets)}", "it is a number of packets")
    measurement = load(args.paths, ends_of(args))
    form = format_of(args)
    if form == "json":
        for value in objects(measurement, slow_ns):
            print(json.dumps(value))
        return 0
    for line in document(measurement, int(args.packets), slow_ns, form == "markdown"):
        print(line)
    return 0


def grids(measurement: Measurement, packets: int, slow_ns: int | None) -> Iterator[Grid[Any]]:
    """All tables: single packets first."""
    found = measurement.found
    single = single_packets(found)
    if single is not None and packets:
        yield tables.packets(single, slowest(single, packets))
    yield from tables.tables(found)
    blamed = slow(single, slow_ns) if single is not None else None
    if blamed is not None:
        yield tables.blames(blamed)
    if found.closures:
        yield tables.closures(found)


def document(
    measurement: Measurement, packets: int, slow_ns: int | None, markdown: bool
) -> Iterator[str]:
    """The lines of text or Markdown."""
    found = measurement.found
    name = clean(found.name)
    yield f"## Ping analysis: {escaped(name)}" if markdown else f"Ping analysis: {name}"
    yield ""
    read = sources.grid(measurement.intaken.sources)
    for grid in (read, *grids(measurement, packets, slow_ns)):
        yield from grid.markdown() if markdown else grid.text()
        yield ""
    yield "### Remarks" if markdown else "Remarks"
    if markdown:
        yield ""
    said = [*remarks(measurement), *sources.troubles(measurement.intaken.sources)]
    for line in said:
        yield f"- {escaped(line.strip())}" if markdown else f"  {line}"


def objects(measurement: Measurement, slow_ns: int | None) -> Iterator[dict[str, object]]:
    """What ``--json`` prints, in this order: analysis, source…, packet…, row…, remark…."""
    found = measurement.found
    single = single_packets(found)
    yield {
        "type": "analysis",
        "name": found.name,
        "quantities": sorted(found.available),
        "joined": len(found.rows),
    }
    for source in measurement.intaken.sources:
        yield sources.source_json(source)
    if single is not None:
        yield from tables.packet_json(single, single.rows)
    for grid in grids(measurement, 0, slow_ns):
        for row, value in zip(grid.rows, grid.json()):
            printed = {"as_printed": row.beside} if isinstance(row, tables.FigureRow) else {}
            yield {**value, **printed}
    for remark in remarks(measurement):
        yield {"type": "remark", "text": remark}
