"""What the screen of a path shows of one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Optional

from vmlat_tui.model.points import Direction
from vmlat_tui.session import window
from vmlat_tui.session.snapshot import Phase
from vmlat_tui.session.window import LegRow
from vmlat_tui.tables import findings, halting, threads
from vmlat_tui.tables.findings import Verdict
from vmlat_tui.tables.halting import HaltRow
from vmlat_tui.tables.threads import Look, ThreadRow
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.paint import Line
from vmlat_tui.tui.screen import matches
from vmlat_tui.tui.widgets.frame import ATTACHING_WORDS
from vmlat_tui.tui.widgets.strip import strip_lines
from vmlat_tui.words import clean


class PathSelection(NamedTuple):
    """Which vNIC and legs, and the width of the strip."""

    tap: str
    pattern: str
    cells: int


@dataclass(frozen=True)
class LegsContent:
    """One direction; ``empty`` says why it has no legs."""

    rows: tuple[LegRow, ...]
    empty: str


@dataclass(frozen=True)
class ThreadsContent:
    """The VM's threads and how its vCPUs halt; nothing where no VM is known to own the vNIC."""

    known: bool = False
    workers: tuple[ThreadRow, ...] = ()
    vcpus: tuple[ThreadRow, ...] = ()
    surroundings: str = ""
    halts: tuple[HaltRow, ...] = ()
    halting: tuple[str, ...] = ()


@dataclass(frozen=True)
class PathContent:
    """Everything that is shown of the vNIC ``tap``; ``span`` in words."""

    tap: str
    span: str
    legs: Mapping[Direction, LegsContent]
    strip: tuple[Line, ...]
    verdict: Verdict
    threads: ThreadsContent


def compute(context: Context, selection: PathSelection) -> PathContent:
    """The figures of this moment."""
    tap, place, span, mark_ns = selection.tap, context.place, context.span, context.mark_ns
    topology = context.now.topology
    domain = topology.domain_of(tap) if topology else None
    every = {d: window.legs(place, tap, d, span, mark_ns) for d in Direction}
    shown = [row for rows in every.values() for row in rows]
    for row in shown:
        _ = row.trend  # kept by the row: worked out here, not while it is painted
    seen = threads.look(place, domain, tap, span, mark_ns) if domain else None
    return PathContent(
        tap,
        context.span_words,
        {d: _legs(context, selection, d, rows) for d, rows in every.items()},
        tuple(strip_lines(place, domain, tap, shown, selection.cells)),
        findings.verdict(place, tap, span, mark_ns),
        _threads(context, tap, seen),
    )


def _legs(
    context: Context, selection: PathSelection, direction: Direction, rows: tuple[LegRow, ...]
) -> LegsContent:
    matching = (row for row in rows if row.total or matches(row.leg.title, selection.pattern))
    return LegsContent(tuple(matching), _why_empty(context, selection.tap, direction))


def _why_empty(context: Context, tap: str, direction: Direction) -> str:
    now = context.now
    if now.acknowledged is not None and direction.id not in now.acknowledged.directions:
        return f"{direction.name} is not measured (D changes it)"
    if now.refusal is not None and now.measuring is None:
        return f"not measured: {clean(str(now.refusal.error))}"
    if now.phase is Phase.MEASURING and now.stats is None:
        return "the probes are in place; waiting for the first figures"
    if now.phase is Phase.ATTACHING:
        return ATTACHING_WORDS
    if now.problem is not None:
        return clean(str(now.problem))
    if now.measuring is None:
        return "not measured (M measures it)"
    return f"no {direction.name} packet of {clean(tap)} matched yet"


def _threads(context: Context, tap: str, seen: Optional[Look]) -> ThreadsContent:
    if seen is None:
        return ThreadsContent()
    place = context.place
    return ThreadsContent(
        True,
        tuple(threads.worker_rows(seen)),
        tuple(seen.vcpus),
        threads.surroundings(place, seen.domain, tap),
        tuple(halting.halt_rows(place, seen)),
        tuple(halting.halt_lines(place, seen)),
    )
