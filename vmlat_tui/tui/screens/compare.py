"""Several VMs side by side: the whole way of each, and every leg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from textual import on
from textual.app import ComposeResult

from vmlat_tui.tables import matrix, vnics
from vmlat_tui.tables.legs import long_name
from vmlat_tui.tables.matrix import CellValue, Matrix, MatrixRow
from vmlat_tui.tables.vnics import CompareRow
from vmlat_tui.tui import keys, messages
from vmlat_tui.tui.computed_screen import ComputedScreen
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.paint import Line
from vmlat_tui.tui.screen import kept, matches
from vmlat_tui.tui.widgets.table import Table

#: From this height on both tables are in sight together.
_HIGH = 34
_FIGURES = tuple(CellValue)
_EMPTY = "nothing is measured: mark VMs with m in the list of VMs, then c"


class CompareSelection(NamedTuple):
    """What the legs show, and which rows."""

    figure: CellValue
    pattern: str


@dataclass(frozen=True)
class CompareContent:
    """Both tables; ``figure`` is that of ``legs``."""

    ways: tuple[CompareRow, ...]
    legs: Matrix
    leg_rows: tuple[MatrixRow, ...]
    figure: CellValue
    span: str


def compute(context: Context, selection: CompareSelection) -> CompareContent:
    """The figures of this moment."""
    found = vnics.measured(context.place, context.span, context.mark_ns)
    ways = kept(vnics.rows(found), vnics.COLUMNS, selection.pattern)
    for row in ways:
        _ = row.total.trend  # kept by the leg: worked out here, not while it is painted
    shown = matrix.matrix(found, selection.figure)
    return CompareContent(
        ways,
        shown,
        tuple(row for row in shown.rows if matches(_text(row), selection.pattern)),
        selection.figure,
        context.span_words,
    )


class CompareScreen(ComputedScreen[CompareSelection, CompareContent]):
    """Enter shows the path of a vNIC, or the leg of the VM that is slowest there."""

    scope = "compare"
    compute = staticmethod(compute)
    BINDINGS = keys.bindings("compare")
    CSS = """
    CompareScreen #compare { height: 1fr; }
    CompareScreen #matrix { height: 1fr; border-top: $rule $border-blurred; }
    CompareScreen.-small #matrix { display: none; border-top: none; }
    CompareScreen.-small.-matrix #matrix { display: block; }
    CompareScreen.-small.-matrix #compare { display: none; }
    """

    def __init__(self) -> None:
        """The legs show their medians."""
        super().__init__()
        self._figure = CellValue.P50

    def body(self) -> ComposeResult:
        """Two tables."""
        yield Table(vnics.COLUMNS, lambda r: r.key, id="compare", emphasis=vnics.emphasis)
        yield Table((), lambda r: r.key, id="matrix", emphasis=matrix.emphasis)

    @property
    def _ways(self) -> Table[CompareRow]:
        return self.query_one("#compare", Table)

    @property
    def _legs(self) -> Table[MatrixRow]:
        return self.query_one("#matrix", Table)

    def fill(self, context: Context) -> None:
        """Ask for the figures of this moment."""
        self.set_class(self.size.height < _HIGH, "-small")
        super().fill(context)

    def selection(self) -> CompareSelection:
        """The figure of the legs, and the pattern."""
        return CompareSelection(self._figure, self.pattern)

    def paint(self, content: CompareContent) -> None:
        """Show them."""
        title = ((" whole way and slowest leg", "title"), (f"   {content.span}", "dim"))
        self._ways.show(content.ways, title, _EMPTY)
        height: Any = min(self._ways.height_wanted, self.size.height // 2 - 2)
        self._ways.styles.height = "1fr" if self.has_class("-small") else height
        self._legs.set_columns(content.legs.columns, matrix.FIXED)
        self._legs.show(content.leg_rows, self._title(content), _EMPTY)

    def _title(self, content: CompareContent) -> Line:
        first, last = self._legs.columns_in_sight
        count = len(content.legs.columns) - matrix.FIXED
        words = f"{content.figure.value} {content.legs.unit}".rstrip()
        part = f"   VMs {first + 1} to {last} of {count}" if last - first < count else ""
        span = f"   {content.span}"
        return ((f" {words} of every leg", "title"), (span, "dim"), (part, "accent"))

    # ---- keys ---------------------------------------------------------------------------------

    def action_sort(self) -> None:
        """By p50, by p99, as they come."""
        order = (None, "p50", "p99")
        now = self._ways.sorting[0] if self._ways.sorting else None
        self._ways.sort_by(order[(order.index(now) + 1) % len(order)])

    def action_page(self, page: str) -> None:
        """Go to a table; where there is no room for both, it takes the room."""
        self.set_class(page == "matrix", "-matrix")
        self.call_after_refresh(lambda: self.query_one(f"#{page}", Table).focus())
        self.call_after_refresh(self.refill)

    def action_figure(self) -> None:
        """The next figure."""
        self._figure = _FIGURES[(_FIGURES.index(self._figure) + 1) % len(_FIGURES)]
        self.refill()

    def action_columns(self, by: int) -> None:
        """Other VMs."""
        self._legs.scroll_columns(by)
        self.paint_again()

    @on(Table.Chosen, "#compare")
    def way_chosen(self) -> None:
        """Its path."""
        row = self._ways.selected
        if row is not None:
            vnic = row.total.vnic
            self.request(messages.OpenPath(vnic, (vnic,)))

    @on(Table.Chosen, "#matrix")
    def leg_chosen(self) -> None:
        """The leg of the VM that is slowest there."""
        row = self._legs.selected
        if row is not None and row.values:
            vnic = max(row.values, key=lambda name: row.values[name])
            self.request(messages.OpenLeg((vnic, row.leg.id)))


def _text(row: MatrixRow) -> str:
    return f"{row.leg.direction.name} {long_name(row.leg)}"
