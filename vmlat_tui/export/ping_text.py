"""What ``vmlat ping`` shows: a line for each ping, and who has observed."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from vmlat_tui.analysis import plan as planning
from vmlat_tui.analysis.plan import TOTAL, Item, Plan
from vmlat_tui.model.segments import NESTED, ORDER, Observer
from vmlat_tui.ping.correlation import Heard
from vmlat_tui.ping.observers import Post
from vmlat_tui.protocol.frames import Frame
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


def _pieces(heard: Heard) -> Iterator[str]:
    """The total, the parts of the way, and what is left over."""
    plan = _plan(frozenset(heard.intervals_ns))
    groups: list[list[str]] = [[] for _ in _GROUPS]
    left_ns = 0

    def of(item: Item) -> int:
        return sum(factor * heard.intervals_ns[q] for q, factor in item.formula.items())

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


def ping_line(heard: Heard, asked: Sequence[Observer]) -> str:
    """One ping: its pieces, where it was lost, and who has not told of it."""
    parts = [f"id {heard.packet.id} seq {heard.packet.sequence}"]
    if TOTAL in _plan(frozenset(heard.intervals_ns)).items:
        parts += _pieces(heard)
    for observer, words in heard.lost.items():
        parts.append(f"LOST, says the {observer.title}: {clean(words)}")
    silent = [observer.title for observer in asked if observer not in heard.by]
    if silent:
        parts.append(f"nothing from the {', '.join(silent)}")
    return " | ".join(parts)


def _state(post: Post) -> str:
    if post.error is None:
        return "to the end"
    return f"{'until it was gone' if post.ready else 'never'}: {post.error}"


COLUMNS: tuple[Column[Post], ...] = (
    Column("observer", "observer", 0, TEXT, lambda p: p.observer.title),
    Column("host", "where", 0, NAME, lambda p: p.host.name),
    Column("pings", "pings told of", 0, WHOLE, lambda p: p.told),
    Column("lost", "of them lost", 0, WHOLE, lambda p: sum(p.lost.values())),
    Column("state", "observed", 0, NAME, _state),
)  # fmt: skip


def observers(posts: Sequence[Post]) -> Grid[Post]:
    """One row for each observer that was asked for, in the order of the request's way."""
    order = list(Observer)
    rows = sorted(posts, key=lambda post: order.index(post.observer))
    return Grid("observers", "Who has observed", COLUMNS, rows)


def holes(posts: Sequence[Post]) -> Iterator[str]:
    """What is missing, and why."""
    for post in posts:
        if post.error is not None:
            when = f"after {post.told} pings" if post.ready else "from the beginning"
            yield f"the {post.title} is missing {when}: {clean(str(post.error))}"
        for words, count in post.lost.items():
            yield f"the {post.title}: {count} pings lost ({clean(words)})"
        if post.unseen:
            yield f"the {post.title}: {post.unseen} packets were lost from sight"
    there = {post.observer for post in posts}
    for observer in (Observer.SENDER_GUEST, Observer.RECEIVER_GUEST):
        if observer not in there:
            option = f"--{observer.value.replace('_', '-')}"
            yield f"the {observer.title} was not asked: its segments are one ({option})"


def given_up(count: int) -> Iterator[str]:
    """Pings that are in the tables and have no line."""
    if count:
        yield f"{count} pings were lost from sight: too many were waited for at once"


def summary_json(posts: Sequence[Post], joined: int, pings: int) -> Frame:
    """The last line of the capture."""
    return {
        "type": "summary",
        "pings": pings,
        "joined": joined,
        "observers": [
            {
                "observer": post.observer.value,
                "host": post.host.name,
                "pings": post.told,
                "lost": dict(post.lost),
                "unseen": post.unseen,
                "error": str(post.error) if post.error else None,
            }
            for post in posts
        ],
    }
