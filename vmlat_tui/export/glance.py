"""The plain snapshot: what the screens would show first, as text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Optional

from vmlat_tui.errors import VmlatError
from vmlat_tui.model.points import BOTH
from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol.commands import Measure
from vmlat_tui.session import window
from vmlat_tui.session.history import History
from vmlat_tui.session.snapshot import Phase, Place, Snapshot
from vmlat_tui.tables import domains, findings, legs, matrix, vnics
from vmlat_tui.tables.columns import table_lines
from vmlat_tui.transport.source import Source, StreamEnded
from vmlat_tui.words import clean

_WIDTH = 110
#: That many fit beside each other.
_VNICS = 6
#: How long an agent may take to say what is there (over ssh, emulated), two readings of the
#: counters after that, the probes to be put in place; and how long is measured.
_FIND_S, _LOOK_S, _START_S, _MEASURE_S = 120.0, 8.0, 240.0, 4.0


def glance(
    connect: Callable[[], Source], measure: bool = True, until_ns: Optional[int] = None
) -> str:
    """Look at the source for a few seconds and say what is there.

    What cannot be told to ``measure`` is a recording: it is read to its end, or ``until_ns``.
    """
    history = History()
    try:
        source = connect()
    except VmlatError as error:
        history.note(Phase.FAILED, error)
        return text(_here(history))
    try:
        _read(source, history, _FIND_S, lambda now: now.topology is not None)
        _read(source, history, _LOOK_S, lambda now: now.rates is not None)
        taps = [row.tap for row in domains.rows(_here(history)) if row.tap]
        if measure and taps:
            source.send(Measure(Requested(tuple(taps), emit=False)))
            _read(source, history, _START_S, _answered)
            if history.moments()[-1].measuring is not None:
                _read(source, history, _MEASURE_S, lambda now: False)
        elif not measure:
            _read(
                source,
                history,
                float("inf"),
                lambda now: until_ns is not None and now.t_ns >= until_ns,
            )
    except StreamEnded:
        history.note(Phase.ENDED)
    except VmlatError as error:
        history.note(Phase.FAILED, error)
    finally:
        source.close()
    return text(_here(history))


def _here(history: History) -> Place:
    moments = history.moments()
    return Place(moments, len(moments) - 1)


def _answered(now: Snapshot) -> bool:
    return now.measuring is not None or now.refusal is not None


def _read(
    source: Source, history: History, limit_s: float, enough: Callable[[Snapshot], bool]
) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        frame = source.next(0.2)
        if frame is not None:
            history.take(frame)
        if enough(history.moments()[-1]):
            return


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
