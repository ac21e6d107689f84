"""What ``vmlat ping`` shows: a line for each ping, and who has observed."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from vmlat_tui.analysis import plan as planning
from vmlat_tui.analysis.plan import TOTAL, Item, Plan
from vmlat_tui.model.segments import NESTED, ORDER, Observer
from vmlat_tui.ping.correlation import CorrelatedPing
from vmlat_tui.ping.observers import PingObserver
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.tables.columns import NAME, TEXT, Column
from vmlat_tui.tables.decomposition import short
from vmlat_tui.tables.grid import WHOLE, Grid
from vmlat_tui.words import clean

HEADING = "One line a ping, in µs, in the order of its way; * is derived from other intervals."

_RECEIVER = NESTED["receiver_total"]
#: Of a line: out of the sender, the cable, the receiver, back into the sender.
_GROUPS = (("A", "U1", "B"), "CJ", _RECEIVER, ("K", "L", "U4", "M"))


@functools.lru_cache(64)
def _plan(quantities: frozenset[str]) -> Plan:
    return planning.make(quantities)


def _segments(item: Item) -> list[str]:
    """What a piece consists of; nothing if it is a residual."""
    return [item.id] if item.id in ORDER else [s for s in item.of.split("+") if s]


def _pieces(ping: CorrelatedPing) -> Iterator[str]:
    """The total, the parts of the way, and what is left over."""
    plan = _plan(frozenset(ping.intervals_ns))
    groups: list[list[str]] = [[] for _ in _GROUPS]
    left_ns = 0

    def of(item: Item) -> int:
        return sum(factor * ping.intervals_ns[q] for q, factor in item.formula.items())

    yield f"total {of(plan.items[TOTAL]) / 1000:.1f}"
    named = [(_segments(item), item) for item in plan.pieces]
    for segments, item in sorted(named, key=lambda one: [ORDER.index(s) for s in one[0]]):
        if not segments:
            left_ns += of(item)
            continue
        group = next((g for g, those in zip(groups, _GROUPS) if segments[0] in those))
        group.append(f"{short(item)}{'*' * item.derived} {of(item) / 1000:.1f}")
    yield from (" ".join(group) for group in groups if group)
    if not all(segments for segments, _ in named):
        yield f"residual* {left_ns / 1000:+.1f}"


def ping_line(ping: CorrelatedPing, asked: Sequence[Observer]) -> str:
    """One ping: its pieces, where it was lost, and which observer has not reported it."""
    parts = [f"id {ping.packet.id} seq {ping.packet.sequence}"]
    if TOTAL in _plan(frozenset(ping.intervals_ns)).items:
        parts += _pieces(ping)
    for observer, words in ping.lost.items():
        parts.append(f"LOST, says the {observer.title}: {clean(words)}")
    silent = [observer.title for observer in asked if observer not in ping.by]
    if silent:
        parts.append(f"nothing from the {', '.join(silent)}")
    return " | ".join(parts)


def _state(observer: PingObserver) -> str:
    if observer.error is None:
        return "to the end"
    return f"{'until it was gone' if observer.ready else 'never'}: {observer.error}"


COLUMNS: tuple[Column[PingObserver], ...] = (
    Column("observer", "observer", 0, TEXT, lambda p: p.role.title),
    Column("host", "where", 0, NAME, lambda p: p.host.name),
    Column("pings", "pings reported", 0, WHOLE, lambda p: p.reported),
    Column("lost", "of them lost", 0, WHOLE, lambda p: sum(p.lost.values())),
    Column("state", "observed", 0, NAME, _state),
)  # fmt: skip


def observers(observers: Sequence[PingObserver]) -> Grid[PingObserver]:
    """One row for each observer that was asked for, in the order of the request's way."""
    order = list(Observer)
    rows = sorted(observers, key=lambda observer: order.index(observer.role))
    return Grid("observers", "Who has observed", COLUMNS, rows)


def holes(observers: Sequence[PingObserver]) -> Iterator[str]:
    """What is missing, and why."""
    for observer in observers:
        if observer.error is not None:
            when = f"after {observer.reported} pings" if observer.ready else "from the beginning"
            yield f"the {observer.title} is missing {when}: {clean(str(observer.error))}"
        for words, count in observer.lost.items():
            yield f"the {observer.title}: {count} pings lost ({clean(words)})"
        if observer.unseen:
            yield f"the {observer.title}: {observer.unseen} packets were lost from sight"
    there = {observer.role for observer in observers}
    for guest in (Observer.SENDER_GUEST, Observer.RECEIVER_GUEST):
        if guest not in there:
            option = f"--{guest.value.replace('_', '-')}"
            yield f"the {guest.title} was not asked: its segments are one ({option})"


def given_up(count: int) -> Iterator[str]:
    """Pings that are in the tables and have no line."""
    if count:
        yield f"{count} pings were lost from sight: too many were waited for at once"


def summary_json(observers: Sequence[PingObserver], joined: int, pings: int) -> Raw:
    """The last line of the capture."""
    return {
        "type": "summary",
        "pings": pings,
        "joined": joined,
        "observers": [
            {
                "observer": observer.role.value,
                "host": observer.host.name,
                "pings": observer.reported,
                "lost": dict(observer.lost),
                "unseen": observer.unseen,
                "error": str(observer.error) if observer.error else None,
            }
            for observer in observers
        ],
    }
