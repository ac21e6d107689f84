"""The table of legs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vmlat_tui.model.legs import Leg
from vmlat_tui.session.window import LegRow
from vmlat_tui.tables.columns import BAR, COUNT, PERCENT, SPARK, TIME, Column, Form, Scale
from vmlat_tui.words import width as cells


class LegName(Form):
    """From point to point where all of a column fit, else only where the leg ends."""

    def scale(self, values: Sequence[Any], width: int) -> Scale:
        """``decimals`` 1 stands for the long form."""
        return Scale(decimals=int(all(cells(long_name(v)) <= width for v in values)))

    def text(self, value: Any, scale: Scale, width: int) -> str:
        """One leg."""
        return long_name(value) if scale.decimals else short_name(value)


def long_name(leg: Leg) -> str:
    """``ovs_dp → switch_out``."""
    return leg.title.replace("->", "→")


def short_name(leg: Leg) -> str:
    """``→switch_out``: in the order of the path it begins where the one above ends."""
    return "total" if leg.end is None else f"→{leg.end.point.id}"


def _timed(row: LegRow, value_ns: int) -> Any:
    return value_ns if row.count else None


COLUMNS: tuple[Column[LegRow], ...] = (
    Column("leg", "leg", 13, LegName(), lambda r: r.leg, most=27, help="from point to point"),
    Column("count", "pkts", 5, COUNT, lambda r: r.count, 4, 8, help="packets in the span"),
    Column("p50", "p50", 6, TIME, lambda r: _timed(r, r.p50_ns), 1, 8,
           help="half of the packets took at most this"),
    Column("p90", "p90", 6, TIME, lambda r: _timed(r, r.p90_ns), 5, 8, help="nine of ten"),
    Column("p99", "p99", 6, TIME, lambda r: _timed(r, r.p99_ns), 2, 8, help="99 of 100"),
    Column("max", "max", 6, TIME, lambda r: _timed(r, r.max_ns), 6, 8, help="the slowest"),
    Column("percent", "", 5, PERCENT, lambda r: None if r.total else r.share, 8,
           help="of the time that all packets spent on the whole way"),
    Column("share", "share", 5, BAR, lambda r: None if r.total else r.share, 3, 20,
           lambda r: "bad" if r.slowest else "bar", help="the same as a bar"),
    Column("trend", "trend", 5, SPARK, lambda r: r.trend, 7, 24, lambda r: "spark",
           help="median of each of the last intervals, newest at the right"),
)  # fmt: skip


def emphasis(row: LegRow) -> tuple[str, str]:
    """The slowest leg stands out by a glyph and a style; the total is a sum, not a leg."""
    if row.slowest:
        return "▲", "bad"
    if row.total:
        return "", "strong"
    return "", "" if row.count else "dim"
