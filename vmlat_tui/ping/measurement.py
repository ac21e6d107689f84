"""Files of one measurement, read and taken apart, and what has to be said about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmlat_tui.analysis import trust
from vmlat_tui.analysis.collection import Collection
from vmlat_tui.analysis.decomposition import Decomposition
from vmlat_tui.errors import VmlatError
from vmlat_tui.importers import directory
from vmlat_tui.importers.directory import Ends, Imported
from vmlat_tui.importers.result import Trouble
from vmlat_tui.words import clean


@dataclass(frozen=True)
class ImportedMeasurement:
    """What was read, and what follows from it."""

    imported: Imported
    found: Decomposition


def load(paths: Sequence[str], ends: Ends) -> ImportedMeasurement:
    """Read the files and directories of one environment.

    Raises :class:`.UsageError` for paths that are not there, :class:`VmlatError` if they hold
    nothing that can be analysed.
    """
    collection = Collection()
    places = [Path(path) for path in paths]
    imported = directory.read(places, collection, ends)
    if not collection.quantities:
        shown = ", ".join(clean(path) for path in paths)
        sideless = any(s.troubles[Trouble.SIDELESS] for s in imported.sources)
        raise VmlatError(
            f"nothing in {shown} can be analysed",
            "; ".join(map(clean, imported.unreadable))
            or f"{len(imported.sources)} files were read",
            "say which end its logs are of with --sender or --receiver" if sideless else "",
        )
    labels = [source.label for source in imported.sources if source.label]
    name = labels[0] if labels else places[0].resolve().name
    return ImportedMeasurement(imported, Decomposition(name, collection, imported.published_ns))


def remarks(measurement: ImportedMeasurement) -> Iterator[str]:
    """How far to trust the figures, most important first."""
    imported = measurement.imported
    yield from trust.remarks(measurement.found)
    variants = {v for source in imported.sources for v in source.variants}
    if len(variants) > 1:
        yield f"guest logs of two versions are mixed: they end at {' and '.join(sorted(variants))}"
    for problem in imported.unreadable:
        yield clean(problem)
    yield trust.ONE_CLOCK
