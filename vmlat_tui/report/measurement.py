"""Files of one measurement, read and taken apart, and what has to be said about it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from vmlat_tui.analysis.collection import Collection
from vmlat_tui.analysis.decomposition import Decomposition
from vmlat_tui.analysis.figures import Basis
from vmlat_tui.analysis.plan import REST, TOTAL
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.importers import directory
from vmlat_tui.importers.directory import Ends, Intaken
from vmlat_tui.importers.intake import Trouble
from vmlat_tui.model.segments import ORDER, QUANTITIES, Observer
from vmlat_tui.report.words import clean


@dataclass(frozen=True)
class Measurement:
    """What was read, and what follows from it."""

    intaken: Intaken
    found: Decomposition


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that reads files."""
    for end in ("sender", "receiver"):
        parser.add_argument(
            f"--{end}",
            metavar="PATTERN",
            action="append",
            default=[],
            help=f"files of such names (*{end[:4]}*) were written on the {end}'s host; for logs "
            "that do not say it themselves",
        )
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    parser.add_argument("--json", action="store_true", help="the same as --format json")


def format_of(args: argparse.Namespace) -> str:
    """``text``, ``markdown`` or ``json``."""
    return "json" if args.json else str(args.format)


def ends_of(args: argparse.Namespace) -> Ends:
    """What the options say of the files."""
    return Ends(args.sender, args.receiver)


def load(paths: Sequence[str], ends: Ends) -> Measurement:
    """Read the files and directories of one environment.

    Raises :class:`UsageError` for paths that are not there, :class:`VmlatError` if they hold
    nothing that can be analysed.
    """
    collection = Collection()
    places = [Path(path) for path in paths]
    intaken = directory.read(places, collection, ends)
    if not collection.quantities:
        shown = ", ".join(clean(path) for path in paths)
        sideless = any(s.troubles[Trouble.SIDELESS] for s in intaken.sources)
        raise VmlatError(
            f"nothing in {shown} can be analysed",
            "; ".join(map(clean, intaken.unreadable)) or f"{len(intaken.sources)} files were read",
            "say which end its logs are of with --sender or --receiver" if sideless else "",
        )
    labels = [source.label for source in intaken.sources if source.label]
    name = labels[0] if labels else places[0].resolve().name
    return Measurement(intaken, Decomposition(name, collection, intaken.published_ns))


def microseconds_of(text: Optional[str], option: str) -> Optional[int]:
    """Nanoseconds of an option in microseconds; raises :class:`UsageError`."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e12:
        raise UsageError(f"{option} {clean(text)}", "it is a number of microseconds")
    return round(value * 1000)


def remarks(measurement: Measurement) -> Iterator[str]:
    """How far to trust the figures, most important first."""
    found, intaken = measurement.found, measurement.intaken
    yield from _join(found)
    yield from _negative(found)
    yield from _missing(found)
    variants = {v for source in intaken.sources for v in source.variants}
    if len(variants) > 1:
        yield f"guest logs of two versions are mixed: they end at {' and '.join(sorted(variants))}"
    for problem in intaken.unreadable:
        yield clean(problem)
    yield "only intervals of one clock are used: clocks of guests and hosts need not agree"


def _join(found: Decomposition) -> Iterator[str]:
    collection = found.collection
    if found.rows:
        whose = "every observer" if found.complete else "every observer who names them"
        yield f"{len(found.rows)} packets were seen by {whose}: figures are of these"
        yield from _holes(found)
    elif found.too_few:
        yield (
            f"only {found.too_few} packets join in all logs, which may be by chance:"
            " figures across logs are differences of means"
        )
    elif found.plan.parts and collection.averages.keys() >= collection.quantities:
        yield "these are averages without packets: figures across them are differences of means"
    elif found.plan.parts:
        yield (
            "no packet was seen by every observer (logs of different times?):"
            " what its packets do not join for is a difference of means"
        )
    uneven = collection.joined_unevenly
    if uneven:
        yield (
            f"sequence numbers of echo id {', '.join(map(str, uneven[:5]))} started again more"
            " often in one log than in another: not joined; cut the logs to the same period"
        )
    if collection.kept < 1:
        yield f"so many packets: one of {1 / collection.kept:.0f} was kept, by its number alone"


def _holes(found: Decomposition) -> Iterator[str]:
    """Where packets of the whole were not seen."""
    outermost = next(iter(found.plan.parts[0].item.formula))
    whole = len(found.collection.rows_with([outermost]))
    for observer in Observer:
        needed = {
            q
            for q in found.plan.needed & found.collection.keyed
            if QUANTITIES[q].observer is observer
        }
        seen = len(found.collection.rows_with({outermost, *needed}))
        if seen < whole:
            yield f"{whole - seen} of {whole} packets lack something at the {observer.title}"


def _negative(found: Decomposition) -> Iterator[str]:
    for id_, item in found.plan.items.items():
        figure = found.figure(id_)
        if figure is None or not figure.negative or id_ == REST:
            continue
        cause = (
            "these are not the same packets"
            if figure.basis is Basis.MEANS
            else "its end points overlap"
        )
        words = item.of or item.title
        yield f"{words} is negative ({figure.mean_ns / 1000:+.1f} µs): {cause}"


def _missing(found: Decomposition) -> Iterator[str]:
    if TOTAL not in found.plan.items or "rtt" not in found.available:
        yield "there is no round trip of the sender's guest: only parts of it are shown"
    missing = [s for s in ORDER if s not in "CJ" and s not in found.available]
    if missing:
        stand = "; the remainders stand for them" if found.plan.parts else ""
        yield f"not measured: {' '.join(missing)}{stand}"
