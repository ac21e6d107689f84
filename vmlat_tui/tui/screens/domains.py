"""The VMs of the host: which one to look at."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Optional

from textual import on
from textual.app import ComposeResult

from vmlat_tui.session.snapshot import Phase, Snapshot
from vmlat_tui.tables import domains
from vmlat_tui.tables.domains import DomainRow
from vmlat_tui.tui import keys, messages
from vmlat_tui.tui.computed_screen import ComputedScreen
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.screen import kept
from vmlat_tui.tui.widgets.lines import Lines
from vmlat_tui.tui.widgets.table import Table
from vmlat_tui.words import clean


@dataclass(frozen=True)
class DomainsContent:
    """The VMs, or why there are none."""

    rows: tuple[DomainRow, ...]
    empty: str


def compute(context: Context, selection: str) -> DomainsContent:
    """The VMs of this moment; ``selection`` is the pattern."""
    every = domains.rows(context.place)
    rows = kept(every, domains.COLUMNS, selection)
    if every:
        return DomainsContent(rows, f"no VM matches {clean(selection)}")
    return DomainsContent(rows, _why_empty(context.now))


def _why_empty(now: Snapshot) -> str:
    if now.topology is not None:
        notes = "; ".join(map(clean, now.topology.notes))
        return "no VM runs on this host" + (f" ({notes})" if notes else "")
    if now.problem is not None:
        return f"nothing is known about this host: {clean(str(now.problem))}"
    if now.phase is Phase.ENDED:
        return "the recording holds no topology of its host"
    return "looking at this host"


class DomainsScreen(ComputedScreen[str, DomainsContent]):
    """Every VM with its rates and what looks wrong; enter measures it."""

    scope = "domains"
    compute = staticmethod(compute)
    BINDINGS = keys.bindings("domains")
    CSS = """
    DomainsScreen #details { height: 6; padding: 0 1; border-top: $rule $border-blurred; }
    """

    def __init__(self) -> None:
        """No VM is marked."""
        super().__init__()
        self._marked: frozenset[object] = frozenset()

    @property
    def crumb(self) -> str:
        """Its name."""
        return "VMs"

    def body(self) -> ComposeResult:
        """The list, and what is known about the VM under the cursor."""
        yield Table(domains.COLUMNS, lambda r: r.key, id="vms", emphasis=domains.emphasis)
        yield Lines("details")

    @property
    def _table(self) -> Table[DomainRow]:
        return self.query_one("#vms", Table)

    def selection(self) -> str:
        """The pattern."""
        return self.pattern

    def paint(self, content: DomainsContent) -> None:
        """Show them."""
        self._table.show(content.rows, (), content.empty)
        self._details()

    def _details(self) -> None:
        row = self._table.selected
        pane = self.query_one("#details", Lines)
        pane.show(
            [
                ((line, role),)
                for role, text in (domains.details(row) if row else [])
                for line in textwrap.wrap(text, max(20, pane.size.width), subsequent_indent="  ")
            ]
        )

    @on(Table.Moved)
    def moved(self) -> None:
        """Another VM, other details."""
        self._details()

    @on(Table.Chosen)
    def chosen(self) -> None:
        """Measure it, with the marked ones if there are."""
        row = self._table.selected
        if row is None:
            return
        if row.tap is None:
            words = f"{clean(row.domain.name)} has no device on this host to measure"
            self.request(messages.Tell(words))
            return
        self.request(messages.OpenPath(row.tap, self._taps(row)))

    def _taps(self, row: Optional[DomainRow]) -> tuple[str, ...]:
        chosen = [r.tap for r in self._table.rows if r.key in self._marked and r.tap]
        if row is not None and row.tap and row.tap not in chosen:
            chosen.insert(0, row.tap)
        return tuple(chosen)

    def action_mark(self) -> None:
        """Mark the VM under the cursor, or take the mark away."""
        row = self._table.selected
        if row is not None:
            self._marked ^= {row.key}
            self._table.mark(self._marked)
            self._table.action_cursor(1)

    def action_compare(self) -> None:
        """Measure the marked ones and compare them."""
        taps = self._taps(None)
        if taps:
            self.request(messages.Watch(taps))
        self.request(messages.OpenCompare())

    def action_placement(self) -> None:
        """Where the VM under the cursor runs."""
        row = self._table.selected
        if row is not None:
            self.request(messages.OpenPlacement(row.domain))
