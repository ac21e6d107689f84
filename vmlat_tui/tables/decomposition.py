"""The tables of one measurement: segments, parts, layers, slow packets, single packets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from vmlat_tui.analysis.decomposition import Closure, Decomposition
from vmlat_tui.analysis.figures import Figure
from vmlat_tui.analysis.plan import REST, TOTAL, Item
from vmlat_tui.analysis.slow import Blame, Slow
from vmlat_tui.model.segments import KICK_STAGES, LAYERS, ORDER, QUANTITIES, STAGES
from vmlat_tui.tables.columns import TEXT, Column, Form, Scale
from vmlat_tui.tables.grid import MICRO, SHARE, SIGNED, WHOLE, Grid

AS_PRINTED = "  as printed"
NEGATIVE = "▼ negative"
#: A remainder of more segments is not named by them in the head of a column.
_MOST_NAMED = 5
#: Below every table that has a remainder.
RESIDUAL_NOTE = "The last row is what the measured intervals leave of the round trip, signed."


@dataclass(frozen=True)
class FigureRow:
    """One item of one environment."""

    item: Item
    figure: Figure
    whole_ns: Optional[float]
    beside: bool = False


def title_of(item: Item) -> str:
    """Title, with what it consists of unless that is the same."""
    return f"{item.title}: {item.of}" if item.of and item.of not in item.title else item.title


class SegmentName(Form):
    """The letter of a segment, or the stage of one; for other items their title says it all."""

    def text(self, value: str, scale: Scale, width: int) -> str:
        """One item."""
        return value if value in ORDER or "." in value else ""


SEGMENT = SegmentName()


def _share(row: FigureRow) -> Optional[float]:
    return row.figure.mean_ns / row.whole_ns if row.whole_ns else None


def _value(name: str) -> Any:
    return lambda row: getattr(row.figure, name)


COLUMNS: tuple[Column[FigureRow], ...] = (
    Column("item", "", 0, SEGMENT, lambda r: r.item.id),
    Column("title", "", 0, TEXT,
           lambda r: AS_PRINTED if r.beside else title_of(r.item)),
    Column("count", "packets", 0, WHOLE, lambda r: r.figure.count),
    Column("mean_ns", "mean", 0, MICRO, lambda r: r.figure.mean_ns),
    Column("p50_ns", "p50", 0, MICRO, _value("p50_ns")),
    Column("p90_ns", "p90", 0, MICRO, _value("p90_ns")),
    Column("p99_ns", "p99", 0, MICRO, _value("p99_ns")),
    Column("spread_ns", "spread", 0, MICRO, _value("spread_ns")),
    Column("least_ns", "least", 0, MICRO, _value("least_ns")),
    Column("most_ns", "most", 0, MICRO, _value("most_ns")),
    Column("share", "share", 0, SHARE, _share),
    Column("basis", "how", 0, TEXT, lambda r: r.figure.basis.value),
    Column("flag", "", 0, TEXT, lambda r: NEGATIVE if r.figure.negative else ""),
)  # fmt: skip


def tables(found: Decomposition) -> Iterator[Grid[FigureRow]]:
    """All tables of figures; those with a remainder end with it."""
    plan = found.plan
    rests = [rest.id for part in plan.parts for rest in part.rest]
    layers = [layer.id for layer in LAYERS if layer.id != "physical"]
    wholes = [q for q in QUANTITIES if q not in ORDER and "." not in q and "_printed" not in q]
    for id_, title, ids in (
        ("segments", "Segments", [*(i for i in ORDER if i in plan.items), *rests]),
        ("parts", "Sender, network, receiver", [*(p.item.id for p in plan.parts), TOTAL]),
        ("layers", "Layers", [*layers, "physical", REST, TOTAL]),
        ("wholes", "Intervals that contain segments", wholes),
        ("stages_receiver", "tun to interrupt, receiver host",
         [*(f"E.{stage}" for stage in STAGES), "E"]),
        ("stages_sender", "tun to interrupt, sender host",
         [*(f"L.{stage}" for stage in STAGES), "L"]),
        ("kick_sender", "Guest's kick to vnet, sender host",
         [*(f"U1.{stage}" for stage in KICK_STAGES), "U1"]),
        ("kick_receiver", "Guest's kick to vnet, receiver host",
         [*(f"U3.{stage}" for stage in KICK_STAGES), "U3"]),
    ):  # fmt: skip
        rows = list(_rows(found, ids))
        if rows:
            rest = [] if REST in ids else list(_rows(found, [REST]))
            yield Grid(id_, title, COLUMNS, [*rows, *rest], RESIDUAL_NOTE if rest else "")


def _rows(found: Decomposition, ids: Sequence[str]) -> Iterator[FigureRow]:
    whole = found.figure(TOTAL)
    whole_ns = whole.mean_ns if whole else None
    for id_ in ids:
        item = found.item(id_)
        figure = found.figure(id_)
        if item is None or figure is None:
            continue
        yield FigureRow(item, figure, whole_ns)
        beside = found.beside(id_)
        if beside is not None:
            yield FigureRow(item, beside, whole_ns, True)


# ---- what each observer's own sums say -----------------------------------------------------------

CLOSURES: tuple[Column[Closure], ...] = (
    Column("whole", "whole", 0, TEXT, lambda c: QUANTITIES[c.whole].title),
    Column("parts", "less its parts", 0, TEXT, lambda c: " - ".join(c.parts)),
    Column("count", "packets", 0, WHOLE, lambda c: c.residual.count),
    Column("mean_ns", "leaves", 0, SIGNED, lambda c: c.residual.mean_ns),
    Column("spread_ns", "spread", 0, MICRO, lambda c: c.residual.spread_ns),
    Column("basis", "how", 0, TEXT, lambda c: c.residual.basis.value),
)


def closures(found: Decomposition) -> Grid[Closure]:
    """Sums that must hold within one observer."""
    return Grid("closures", "Does each observer's own sum hold?", CLOSURES, found.closures)


# ---- slow packets --------------------------------------------------------------------------------

BLAMES: tuple[Column[Blame], ...] = (
    Column("title", "segment", 0, TEXT, lambda b: short(b.item)),
    Column("largest", "largest in", 0, WHOLE, lambda b: b.largest),
    Column("median_ns", "median", 0, MICRO, lambda b: b.median_ns),
    Column("slow_mean_ns", "in slow ones", 0, MICRO, lambda b: b.slow_mean_ns),
    Column("excess_ns", "more", 0, SIGNED, lambda b: b.excess_ns),
    Column("share", "share", 0, SHARE, lambda b: b.share),
)


def blames(found: Slow) -> Grid[Blame]:
    """Which segment was large in the slow packets."""
    title = (
        f"Which segment was large in the slow packets ({found.count} of {found.of} took"
        f" {found.threshold_ns / 1000:.1f} µs or more)"
    )
    note = "`largest in`: packets in which it exceeded its median by more than any other."
    return Grid("slow", title, BLAMES, found.blames, note)


def short(item: Item) -> str:
    """The head of a column: the letter, or what it consists of."""
    if item.id in ORDER:
        return item.id
    return "all else" if item.of.count("+") > _MOST_NAMED else item.of or item.title


# ---- single packets ------------------------------------------------------------------------------


def packets(found: Decomposition, rows: Sequence[int]) -> Grid[int]:
    """One row for each of these packets, with the finest pieces."""
    pieces = found.plan.pieces
    values = {
        row: {piece.id: _of(found, piece, row) for piece in pieces}
        | {TOTAL: _of(found, found.plan.items[TOTAL], row)}
        for row in rows
    }

    def cell(id_: str) -> Any:
        return lambda row: values[row][id_]

    columns: list[Column[int]] = [
        Column("id", "id", 0, WHOLE, lambda row: found.packet(row).id),
        Column("seq", "seq", 0, WHOLE, lambda row: found.packet(row).sequence),
        Column("total_ns", "total", 0, MICRO, cell(TOTAL)),
        *(Column(f"{p.id}_ns", short(p), 0, MICRO, cell(p.id)) for p in pieces),
    ]
    return Grid("packets", f"The {len(rows)} slowest packets", columns, rows)


def _of(found: Decomposition, item: Item, row: int) -> int:
    return found.values(item.formula, [row])[0]


def packet_json(found: Decomposition, rows: Sequence[int]) -> Iterator[dict[str, object]]:
    """One object for each packet: every measured interval, and what is derived from them."""
    items = [*found.plan.pieces, *(part.item for part in found.plan.parts)]
    items += [found.plan.items[id_] for id_ in (REST, TOTAL) if id_ in found.plan.items]
    derived = {item.id: item for item in items if item.derived}
    for row in rows:
        packet = found.packet(row)
        measured = {q: found.collection.value(q, row) for q in QUANTITIES}
        yield {
            "type": "packet",
            "id": packet.id,
            "seq": packet.sequence,
            "ns": {q: value for q, value in measured.items() if value is not None},
            "derived_ns": {id_: _of(found, item, row) for id_, item in derived.items()},
        }
