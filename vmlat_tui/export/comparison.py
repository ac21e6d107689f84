"""The comparison of two environments as text, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Iterator

from vmlat_tui.analysis.advice import advise
from vmlat_tui.analysis.comparison import Comparison
from vmlat_tui.ping.measurement import ImportedMeasurement, remarks
from vmlat_tui.tables import sources
from vmlat_tui.tables.comparison import findings, grid
from vmlat_tui.tables.grid import escaped
from vmlat_tui.words import clean


def document(
    comparison: Comparison, a: ImportedMeasurement, b: ImportedMeasurement, markdown: bool
) -> Iterator[str]:
    """The lines of text or Markdown."""
    head = f"Ping comparison: {clean(comparison.a.name)} and {clean(comparison.b.name)}"
    yield f"## {escaped(head)}" if markdown else head
    yield ""
    for section in comparison.sections:
        table = grid(comparison, section)
        yield from table.markdown() if markdown else table.text()
        yield ""
    yield "### Findings" if markdown else "Findings"
    if markdown:
        yield ""
    for line in findings(comparison, _in_markdown if markdown else clean):
        yield line if markdown else f"  {line}"
    yield ""
    yield "### Remarks" if markdown else "Remarks"
    if markdown:
        yield ""
    for measurement in (a, b):
        name = clean(measurement.found.name)
        said = [*remarks(measurement), *sources.troubles(measurement.imported.sources)]
        for remark in said:
            words = f"{name}: {remark.strip() if markdown else remark}"
            yield f"- {escaped(words)}" if markdown else f"  {words}"
    for name, only in (
        (clean(comparison.a.name), comparison.only_in_a),
        (clean(comparison.b.name), comparison.only_in_b),
    ):
        if only:
            words = f"only in {name}, not compared: {' '.join(sorted(only))}"
            yield f"- {escaped(words)}" if markdown else f"  {words}"


def objects(
    comparison: Comparison, a: ImportedMeasurement, b: ImportedMeasurement
) -> Iterator[dict[str, object]]:
    """What ``--json`` prints, in this order: comparison, source…, row…, finding…, remark…."""
    yield {
        "type": "comparison",
        "a": comparison.a.name,
        "b": comparison.b.name,
        "statistic": comparison.statistic,
        "only_in_a": sorted(comparison.only_in_a),
        "only_in_b": sorted(comparison.only_in_b),
    }
    for measurement in (a, b):
        for source in measurement.imported.sources:
            yield {**sources.source_json(source), "of": measurement.found.name}
    for section in comparison.sections:
        for line, value in zip(section.lines, grid(comparison, section).json()):
            yield {**value, "as_printed": line.beside, "depth": line.depth}
    for advice in advise(comparison):
        yield {
            "type": "finding",
            "layer": advice.layer,
            "segments": list(advice.segments),
            "difference_ns": advice.difference_ns,
            "share": advice.weight,
            "checks": [{"what": c.what, "command": c.command} for c in advice.checks],
            "remedies": list(advice.remedies),
        }
    for measurement in (a, b):
        for remark in remarks(measurement):
            yield {"type": "remark", "of": measurement.found.name, "text": remark}


def _in_markdown(name: str) -> str:
    return escaped(clean(name))
