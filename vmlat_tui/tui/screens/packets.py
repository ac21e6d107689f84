"""Single packets: the slowest, the dropped, and the timeline of one."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult

from vmlat_tui.model.packets import DropFrame, SeenPacket
from vmlat_tui.tables import packets, passage
from vmlat_tui.tables.packets import PacketRow
from vmlat_tui.tui import messages
from vmlat_tui.tui.computed_screen import ComputedScreen, VnicSelection
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.paint import Line, StyledText
from vmlat_tui.tui.screen import VmlatScreen, kept
from vmlat_tui.tui.widgets.lines import Lines
from vmlat_tui.tui.widgets.table import Table
from vmlat_tui.words import clean, wall_clock

#: Lines of the screen that are not points: breadcrumb, head of the table, trust line, hints.
_AROUND = 4


@dataclass(frozen=True)
class PacketsContent:
    """Both tables."""

    slowest: tuple[PacketRow, ...]
    dropped: tuple[PacketRow, ...]
    rate: StyledText


def compute(context: Context, selection: VnicSelection) -> PacketsContent:
    """What is known at this moment."""
    tap, pattern = selection
    return PacketsContent(
        kept(packets.slowest_rows(context.place, tap), packets.PACKET_COLUMNS, pattern),
        kept(packets.dropped_rows(context.place, tap), packets.DROP_COLUMNS, pattern),
        _drop_rate(context, tap),
    )


def _drop_rate(context: Context, tap: str) -> StyledText:
    stats = context.now.stats
    drops = [row for row in stats.drops if row.vnic == tap] if stats else []
    if not drops:
        return "", ""
    rate = sum(row.packets_per_second for row in drops)
    return f"   {sum(row.packets for row in drops)} in all, {rate:.1f} a second", "dim"


class PacketsScreen(ComputedScreen[VnicSelection, PacketsContent]):
    """The slowest packets of a vNIC above those that were dropped."""

    scope = "packets"
    compute = staticmethod(compute)
    CSS = """
    PacketsScreen #slowest { height: 2fr; }
    PacketsScreen #dropped { height: 1fr; border-top: $rule $border-blurred; }
    """

    def __init__(self, tap: str) -> None:
        """Of the vNIC with this device."""
        super().__init__()
        self.tap = tap

    def body(self) -> ComposeResult:
        """Two tables."""
        columns = [c for c in packets.PACKET_COLUMNS if c.id != "value"]
        yield Table(columns, lambda r: r.key, id="slowest")
        yield Table(packets.DROP_COLUMNS, lambda r: r.key, id="dropped")

    def selection(self) -> VnicSelection:
        """The vNIC and the pattern."""
        return VnicSelection(self.tap, self.pattern)

    def paint(self, content: PacketsContent) -> None:
        """Show them."""
        self.query_one("#slowest", Table).show(
            content.slowest,
            ((" slowest packets so far", "title"),),
            "no single packet was sent by the agent yet (L sets the threshold)",
        )
        self.query_one("#dropped", Table).show(
            content.dropped,
            ((" packets that did not arrive, latest first", "title"), content.rate),
            "none was lost",
        )

    @on(Table.Chosen)
    def chosen(self, event: Table.Chosen) -> None:
        """Its timeline."""
        row = event.table.selected
        if isinstance(row, PacketRow):
            self.request(messages.OpenPacket(row.frame))


class PacketScreen(VmlatScreen):
    """Every point that one packet passed."""

    scope = "packet"
    CSS = """
    PacketScreen #identity { padding: 0 1; }
    """

    def __init__(self, frame: SeenPacket) -> None:
        """``frame`` is of type packet or drop."""
        super().__init__()
        self.frame = frame

    def body(self) -> ComposeResult:
        """Who it is, and its points."""
        yield Lines("identity")
        yield Table(
            packets.STAGE_COLUMNS, lambda r: r.key, id="stages", emphasis=packets.stage_emphasis
        )

    def fill(self, context: Context) -> None:
        """A packet does not change; the frame around it does."""
        frame = self.frame
        self.query_one("#identity", Lines).show(self._identity(context))
        rows = packets.timeline(frame)
        self.query_one("#stages", Table).show(kept(rows, packets.STAGE_COLUMNS, self.pattern))

    def _identity(self, context: Context) -> list[Line]:
        frame = self.frame
        when = wall_clock(frame.stages[0].t_ns + context.now.wall_offset_ns)
        vm, phy = clean(frame.vm_interface), clean(frame.phy_interface)
        way = f"{vm} → {phy}" if frame.direction == "tx" else f"{phy} → {vm}"
        process = frame.process
        lines: list[Line] = [
            ((f"{frame.direction.upper()} ", "strong"), (packets.flow_text(frame), "strong")),
            ((f"{when}   {way}   {frame.bytes} bytes   "
              f"begun by {clean(process.comm)} (pid {process.pid}, tid {process.tid})",
              "dim"),),
            (("total ", "dim"), (f"{frame.total_ns / 1000:.3f} µs", "strong")),
        ]  # fmt: skip
        if isinstance(frame, DropFrame):
            lines[2] = (*lines[2], ("   ▲ it did not arrive, it ended ", "bad"),
                        (clean(packets.drop_text(frame)), "bad"))  # fmt: skip
        for gap in passage.gaps(frame):
            lines.append((("absent ", "dim"), (gap.span, ""), (f": {gap.words}", "")))
        # Air, where the whole way still fits below crumb, this and the table's head.
        fits = len(frame.stages) + len(lines) + _AROUND < self.size.height
        return [*lines, ()] if fits else lines
