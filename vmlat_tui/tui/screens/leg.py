"""One leg: its distribution, how that went over time, and its slowest packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from textual import on
from textual.app import ComposeResult

from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.points import POINTS
from vmlat_tui.session import window
from vmlat_tui.session.sample import LegKey, merged
from vmlat_tui.session.window import LegRow
from vmlat_tui.tables import packets
from vmlat_tui.tables.columns import TIME
from vmlat_tui.tables.packets import PacketRow
from vmlat_tui.tui import keys, messages
from vmlat_tui.tui.computed_screen import ComputedScreen
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.paint import Line
from vmlat_tui.tui.screen import kept
from vmlat_tui.tui.widgets.distribution import distribution
from vmlat_tui.tui.widgets.lines import Lines
from vmlat_tui.tui.widgets.table import Table
from vmlat_tui.words import clean


class LegSelection(NamedTuple):
    """Which leg and packets, and the room for the distribution."""

    key: LegKey
    pattern: str
    cells: int
    height: int


@dataclass(frozen=True)
class LegContent:
    """Everything that is shown."""

    figures: tuple[Line, ...]
    density: tuple[Line, ...]
    packets: tuple[PacketRow, ...]


def compute(context: Context, selection: LegSelection) -> LegContent:
    """The figures of this moment."""
    rows = packets.slowest_rows(context.place, selection.key[0], selection.key)
    return LegContent(
        tuple(_figures(context, selection.key)),
        tuple(_density(context, selection)),
        kept(rows, packets.PACKET_COLUMNS, selection.pattern),
    )


def _title(leg_id: str) -> str:
    leg = window.leg_of(leg_id)
    return leg.title.replace("->", "→") if leg else clean(leg_id)


def _row(context: Context, key: LegKey) -> LegRow | None:
    leg = window.leg_of(key[1])
    if leg is None:
        return None
    rows = window.legs(context.place, key[0], leg.direction, context.span, context.mark_ns)
    return next((row for row in rows if row.key == key), None)


def _figures(context: Context, key: LegKey) -> list[Line]:
    leg, row = window.leg_of(key[1]), _row(context, key)
    point = POINTS.get(leg.end.point.id) if leg and leg.end else None
    title: Line = (
        (_title(key[1]), "strong"),
        (f"   until: {point.title}" if point else "", "dim"),
        (f"   {context.span_words}", "dim"),
    )
    if row is None or not row.count:
        return [title, (("no packet in this span", "dim"),)]
    values = {"p50": row.p50_ns, "p90": row.p90_ns, "p99": row.p99_ns, "max": row.max_ns}
    scale = TIME.scale(list(values.values()), 7)
    parts: list[tuple[str, str]] = [(f"{row.count} packets", "")]
    for name, value in values.items():
        parts += [(f"   {name} ", "dim"), (TIME.text(value, scale, 7), "strong")]
    parts.append((f" {scale.unit}", "dim"))
    if row.share is not None and not row.total:
        role = "bad" if row.slowest else ""
        mark = "   ▲ slowest leg," if row.slowest else "  "
        parts.append((f"{mark} {100 * row.share:.1f} % of the time", role))
    return [title, tuple(parts)]


def _density(context: Context, selection: LegSelection) -> list[Line]:
    place, key = context.place, selection.key
    total = window.histogram(place, key, context.span, context.mark_ns)

    def latest(count: int) -> list[Histogram]:
        samples = window.samples(place, key, count)
        return [merged([sample] if sample else []) for sample in samples]

    return distribution(
        total, latest, selection.cells, selection.height, "packets", "nothing was counted yet"
    )


class LegScreen(ComputedScreen[LegSelection, LegContent]):
    """Enter on a packet shows its timeline."""

    scope = "leg"
    compute = staticmethod(compute)
    BINDINGS = keys.bindings("leg")
    CSS = """
    LegScreen #figures { height: 3; padding: 0 1; }
    LegScreen #density { height: 1fr; padding: 0 1; }
    LegScreen #packets { height: 1fr; border-top: $rule $border-blurred; }
    """

    def __init__(self, key: LegKey) -> None:
        """``key`` is the vNIC's device and the id of the leg."""
        super().__init__()
        self.key = key

    @property
    def crumb(self) -> str:
        """Direction and points."""
        leg = window.leg_of(self.key[1])
        return f"{leg.direction.name if leg is not None else ''} {_title(self.key[1])}"

    def body(self) -> ComposeResult:
        """Figures, distribution, packets."""
        yield Lines("figures")
        yield Lines("density")
        yield Table(packets.PACKET_COLUMNS, lambda r: r.key, id="packets")

    def selection(self) -> LegSelection:
        """The leg, the pattern, and the room for its distribution."""
        room = self.query_one("#density", Lines).size
        return LegSelection(self.key, self.pattern, room.width - 2, room.height)

    def paint(self, content: LegContent) -> None:
        """Show it."""
        self.query_one("#figures", Lines).show(content.figures)
        self.query_one("#density", Lines).show(content.density)
        self.query_one("#packets", Table).show(
            content.packets,
            ((" slowest packets of this leg", "title"), ("   enter: its timeline", "dim")),
            "no single packet was sent by the agent yet (L sets the threshold)",
        )

    @on(Table.Chosen)
    def chosen(self, event: Table.Chosen) -> None:
        """Its timeline."""
        row = event.table.selected
        if isinstance(row, PacketRow):
            self.request(messages.OpenPacket(row.frame))
