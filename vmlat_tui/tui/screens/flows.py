"""The flows of one vNIC: pick some, or name them in words."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult

from vmlat_tui.errors import VmlatError
from vmlat_tui.model import filters
from vmlat_tui.model.flows import Filter
from vmlat_tui.session.snapshot import FlowRow
from vmlat_tui.tables import flows
from vmlat_tui.tui import keys, messages
from vmlat_tui.tui.computed_screen import ComputedScreen, VnicSelection
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.screen import kept
from vmlat_tui.tui.widgets.table import Table
from vmlat_tui.words import clean


@dataclass(frozen=True)
class FlowsContent:
    """The flows that match, of so many, at ``now_ns``."""

    rows: tuple[FlowRow, ...]
    count: int
    evicted: int
    now_ns: int
    pattern: str
    empty: str


def compute(context: Context, selection: VnicSelection) -> FlowsContent:
    """The flows of this moment."""
    stats = context.now.stats
    every = flows.rows(context.place, selection.tap)
    now_ns = stats.t_ns if stats else context.now.t_ns
    return FlowsContent(
        kept(every, flows.columns(lambda: now_ns), selection.pattern),
        len(every),
        stats.trust.flows_evicted if stats else 0,
        now_ns,
        selection.pattern,
        f"no flow matches {clean(selection.pattern)}" if every else _why_none(context, selection),
    )


def _why_none(context: Context, selection: VnicSelection) -> str:
    stats, measured = context.now.stats, context.now.acknowledged
    if stats is None:
        return "nothing is measured yet"
    if stats.flows is None:
        return "flows are kept for the newest moments only: step forward (T)"
    if measured is not None and measured.filters:
        return f"no packet matched {measured.filter_words} yet"
    return f"no packet of {clean(selection.tap)} was seen yet"


class FlowsScreen(ComputedScreen[VnicSelection, FlowsContent]):
    """A live list; enter measures one flow only."""

    scope = "flows"
    compute = staticmethod(compute)
    BINDINGS = keys.bindings("flows")

    def __init__(self, tap: str) -> None:
        """Of the vNIC with this device."""
        super().__init__()
        self.tap = tap
        self._picked: dict[object, FlowRow] = {}
        self._now_ns = 0

    def body(self) -> ComposeResult:
        """One table."""
        yield Table(flows.columns(lambda: self._now_ns), lambda r: r.key, id="flows")

    def on_mount(self) -> None:
        """Busiest first."""
        self._table.sort_by("rate")
        super().on_mount()

    @property
    def _table(self) -> Table[FlowRow]:
        return self.query_one("#flows", Table)

    def selection(self) -> VnicSelection:
        """The vNIC and the pattern."""
        return VnicSelection(self.tap, self.pattern)

    def paint(self, content: FlowsContent) -> None:
        """Show them."""
        self._now_ns = content.now_ns
        title = [(f" {content.count} flows", "title")]
        if content.pattern:
            words = f"   {len(content.rows)} match {clean(content.pattern)}"
            title.append((words, ""))
        if self._picked:
            title.append((f"   ◆ {len(self._picked)} picked (a measures them)", "accent"))
        if content.evicted:
            title.append((f"   ▲ {content.evicted} forgotten to make room", "warn"))
        self._table.show(content.rows, tuple(title), content.empty)

    @on(Table.Chosen)
    def chosen(self) -> None:
        """Measure this flow only."""
        row = self._table.selected
        if row is not None:
            self._measure([row])

    def action_mark(self) -> None:
        """Pick the flow under the cursor, or leave it out again."""
        row = self._table.selected
        if row is None:
            return
        if self._picked.pop(row.key, None) is None:
            self._picked[row.key] = row
        self._table.mark(frozenset(self._picked))
        self._table.action_cursor(1)
        self.paint_again()

    def action_apply(self) -> None:
        """Measure the picked ones, or the one under the cursor."""
        row = self._table.selected
        rows = list(self._picked.values()) or ([row] if row else [])
        if rows:
            self._measure(rows)

    def action_everything(self) -> None:
        """No filter."""
        self._want(())

    def _measure(self, rows: list[FlowRow]) -> None:
        # Both directions of a conversation are one filter.
        wanted = {
            frozenset(((f.src, f.src_port), (f.dst, f.dst_port), f.protocol)): f
            for f in (row.flow for row in rows)
        }
        self._want(tuple(filters.of_flow(flow) for flow in wanted.values()))

    def _want(self, found: tuple[Filter, ...]) -> None:
        try:
            self.change(filters=found)
        except VmlatError as error:
            self.request(messages.Tell(str(error), "warning"))
        else:
            self.app.pop_screen()

    def action_sort(self, by: int) -> None:
        """Sort by the next column."""
        ids = [column.id for column in self._table.columns]
        now = self._table.sorting
        at = ids.index(now[0]) if now else -1
        self._table.sort_by(ids[(at + by) % len(ids)], self._descending)

    def action_reverse(self) -> None:
        """Sort the other way round."""
        now = self._table.sorting
        if now is not None:
            self._table.sort_by(now[0], not now[1])

    @property
    def _descending(self) -> bool:
        now = self._table.sorting
        return now[1] if now else True
