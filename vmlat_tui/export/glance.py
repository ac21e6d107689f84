"""The plain snapshot: what the screens would show first, as text."""

from __future__ import annotations

from collections.abc import Iterator

from vmlat_tui.model.points import BOTH
from vmlat_tui.session import window
from vmlat_tui.session.snapshot import Place
from vmlat_tui.tables import domains, findings, legs, matrix, vnics
from vmlat_tui.tables.columns import table_lines
from vmlat_tui.words import clean

_WIDTH = 110
#: That many fit beside each other.
_VNICS = 6


def text(place: Place) -> str:
    """VMs, then the legs of every vNIC that was measured."""
    return "\n".join(_lines(place)) + "\n"


def _lines(place: Place) -> Iterator[str]:
    now = place.now
    if now.topology is not None:
        yield f"{clean(now.topology.host)}, Linux {clean(now.topology.kernel)}"
    found = domains.rows(place)
    if found:
        yield ""
        yield from table_lines(domains.COLUMNS, found, _WIDTH)
    elif now.topology is not None:
        yield "no VM runs on this host"
    for note in now.topology.notes if now.topology else ():
        yield f"note: {clean(note)}"
    for notice in now.notices:
        yield f"note: {clean(notice)}"
    for vnic in window.vnics(place):
        yield from _legs(place, vnic)
    yield from _compared(place)
    if now.refusal is not None:
        yield f"not measured: {clean(str(now.refusal.error))}"
    if now.problem is not None:
        yield f"problem: {clean(str(now.problem))}"
    elif now.topology is None:
        yield "problem: nothing was heard of what runs here"


def _legs(place: Place, vnic: str) -> Iterator[str]:
    for direction in BOTH:
        rows = window.legs(place, vnic, direction, window.Span.START)
        yield ""
        yield f"{clean(vnic)} {direction.name}, since the start"
        if rows:
            yield from table_lines(legs.COLUMNS, rows, _WIDTH)
        else:
            yield "no packet was seen"
    judged = findings.verdict(place, vnic, window.Span.START)
    yield ""
    yield f"{clean(vnic)} findings, since the start"
    yield from findings.text_lines(judged)


def _compared(place: Place) -> Iterator[str]:
    found = vnics.measured(place, window.Span.START)
    if len(found) < 2:
        return
    shown = matrix.matrix(found, matrix.CellValue.P50)
    for columns in matrix.spans(shown, _VNICS):
        yield ""
        yield f"p50 {shown.unit} of every leg, VM by VM, since the start"
        yield from table_lines(columns, shown.rows, _WIDTH)
