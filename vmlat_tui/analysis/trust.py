"""How far to trust the figures of a measurement: which packets they are of, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator

from vmlat_tui.analysis.decomposition import Decomposition
from vmlat_tui.analysis.figures import Basis
from vmlat_tui.analysis.plan import REST, TOTAL
from vmlat_tui.model.segments import ORDER, QUANTITIES, Observer

ONE_CLOCK = "only intervals of one clock are used: clocks of guests and hosts need not agree"


def remarks(found: Decomposition) -> Iterator[str]:
    """Most important first."""
    yield from _join(found)
    yield from _negative(found)
    yield from _missing(found)


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
