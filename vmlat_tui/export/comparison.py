"""The comparison of two environments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vmlat_tui.analysis.advice import advise
from vmlat_tui.analysis.comparison import Comparison
from vmlat_tui.export.exporter import Document, Part, Prose, Remark
from vmlat_tui.ping.measurement import ImportedMeasurement, remarks
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.tables import sources
from vmlat_tui.tables.comparison import findings, grid
from vmlat_tui.words import clean


@dataclass(frozen=True)
class Compared(Part):
    """What ``vmlat compare`` prints; ``a`` and ``b`` are what was read."""

    comparison: Comparison
    a: ImportedMeasurement
    b: ImportedMeasurement

    def document(self) -> Document:
        """Tables, what grew and what to look at, remarks."""
        comparison = self.comparison
        return Document(
            f"Ping comparison: {clean(comparison.a.name)} and {clean(comparison.b.name)}",
            [grid(comparison, section) for section in comparison.sections],
            [Prose("Findings", lambda show: findings(comparison, show))],
            [*self._remarks()],
        )

    def _remarks(self) -> Iterator[Remark]:
        comparison = self.comparison
        for measurement in (self.a, self.b):
            name = clean(measurement.found.name)
            said = [*remarks(measurement), *sources.troubles(measurement.imported.sources)]
            yield from (Remark(words, name) for words in said)
        for name, only in (
            (clean(comparison.a.name), comparison.only_in_a),
            (clean(comparison.b.name), comparison.only_in_b),
        ):
            if only:
                yield Remark(f"only in {name}, not compared: {' '.join(sorted(only))}")

    def values(self) -> Iterator[Raw]:
        """In this order: comparison, source…, row…, finding…, remark…."""
        return _objects(self.comparison, self.a, self.b)


def _objects(
    comparison: Comparison, a: ImportedMeasurement, b: ImportedMeasurement
) -> Iterator[Raw]:
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
