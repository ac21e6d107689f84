"""One leg: its distribution, how that went over time, and its slowest packets."""

from __future__ import annotations

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
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.paint import Line
from vmlat_tui.tui.screen import VmlatScreen
from vmlat_tui.tui.widgets.distribution import distribution
from vmlat_tui.tui.widgets.lines import Lines
from vmlat_tui.tui.widgets.table import Table
from vmlat_tui.words import clean


class LegScreen(VmlatScreen):
    """Enter on a packet shows its timeline."""

    scope = "leg"
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
        leg = window.leg_of(key[1])
        self._title = leg.title.replace("->", "→") if leg else clean(key[1])
        self._direction = leg.direction if leg else None
        self._ends = leg.end.point.id if leg and leg.end else None

    @property
    def crumb(self) -> str:
        """Direction and points."""
        return f"{self._direction.name if self._direction is not None else ''} {self._title}"

    def body(self) -> ComposeResult:
        """Figures, distribution, packets."""
        yield Lines("figures")
        yield Lines("density")
        yield Table(packets.PACKET_COLUMNS, lambda r: r.key, id="packets")

    def fill(self, context: Context) -> None:
        """Show the figures of this moment."""
        row = self._row(context)
        self.query_one("#figures", Lines).show(self._figures(row, context))
        chart = self.query_one("#density", Lines)
        chart.show(self._density(context, chart.size.width - 2, chart.size.height))
        rows = packets.slowest_rows(context.place, self.key[0], self.key)
        self.query_one("#packets", Table).show(
            self.kept(rows, packets.PACKET_COLUMNS),
            ((" slowest packets of this leg", "title"), ("   enter: its timeline", "dim")),
            "no single packet was sent by the agent yet (L sets the threshold)",
        )

    def _row(self, context: Context) -> LegRow | None:
        if self._direction is None:
            return None
        rows = window.legs(
            context.place, self.key[0], self._direction, context.span, context.mark_ns
        )
        return next((row for row in rows if row.key == self.key), None)

    def _figures(self, row: LegRow | None, context: Context) -> list[Line]:
        point = POINTS.get(self._ends or "")
        title: Line = (
            (self._title, "strong"),
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

    def _density(self, context: Context, cells: int, height: int) -> list[Line]:
        total = window.histogram(context.place, self.key, context.span, context.mark_ns)

        def latest(count: int) -> list[Histogram]:
            samples = window.samples(context.place, self.key, count)
            return [merged([sample] if sample else []) for sample in samples]

        return distribution(total, latest, cells, height, "packets", "nothing was counted yet")

    def action_span(self) -> None:
        """The next span."""
        self.request(messages.NextSpan())

    @on(Table.Chosen)
    def chosen(self, event: Table.Chosen) -> None:
        """Its timeline."""
        row = event.table.selected
        if isinstance(row, PacketRow):
            self.request(messages.OpenPacket(row.frame))
