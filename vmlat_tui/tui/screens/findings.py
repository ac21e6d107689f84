"""Findings about one vNIC: what is slow, why, how sure that is, and what to check."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult

from vmlat_tui.analysis.findings.finding import Finding
from vmlat_tui.export.exporter import Sheet
from vmlat_tui.tables import findings
from vmlat_tui.tui import keys, messages
from vmlat_tui.tui.computed_screen import ComputedScreen, VnicSelection
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.paint import Line
from vmlat_tui.tui.screen import kept
from vmlat_tui.tui.widgets.lines import Lines
from vmlat_tui.tui.widgets.table import Table

_HEADING = 9


@dataclass(frozen=True)
class VerdictContent:
    """The findings, and of what they are."""

    findings: tuple[Finding, ...]
    title: Line
    empty: str


def compute(context: Context, selection: VnicSelection) -> VerdictContent:
    """Judge this moment."""
    judged = findings.verdict(context.place, selection.tap, context.span, context.mark_ns)
    packets = " · ".join(f"{count} {name.upper()}" for name, count in judged.packets.items())
    title: Line = (
        (" what explains the time", "title"),
        (f"   {context.span_words}   {packets} packets" if packets else "", "dim"),
    )
    return VerdictContent(
        kept(judged.findings, findings.COLUMNS, selection.pattern),
        title,
        judged.reason or "no finding has these words",
    )


class VerdictScreen(ComputedScreen[VnicSelection, VerdictContent]):
    """A list, and the one under the cursor in full; enter goes to the leg that it rests on."""

    scope = "verdict"
    compute = staticmethod(compute)
    BINDINGS = keys.bindings("verdict")
    CSS = """
    VerdictScreen #list { height: auto; min-height: 4; max-height: 45%; }
    VerdictScreen #one { height: 1fr; padding: 0 1; border-top: $rule $border-blurred; }
    """

    def __init__(self, tap: str) -> None:
        """Of the vNIC with this device."""
        super().__init__()
        self.tap = tap

    @property
    def crumb(self) -> str:
        """Its name."""
        return "findings"

    def body(self) -> ComposeResult:
        """The list, and one in full."""
        yield Table(findings.COLUMNS, lambda f: f.key, id="list", emphasis=findings.emphasis)
        yield Lines("one")

    @property
    def _table(self) -> Table[Finding]:
        return self.query_one("#list", Table)

    def selection(self) -> VnicSelection:
        """The vNIC and the pattern."""
        return VnicSelection(self.tap, self.pattern)

    def paint(self, content: VerdictContent) -> None:
        """Show them."""
        self._table.show(content.findings, content.title, content.empty)
        self._table.styles.height = max(4, self._table.height_wanted)
        self._details()

    def _details(self) -> None:
        pane = self.query_one("#one", Lines)
        chosen = self._table.selected
        pane.show(one_in_full(chosen, pane.size.width - 2) if chosen else [])

    def sheets(self) -> list[Sheet]:
        """The findings that are shown, with all that is said about each."""
        rows = self._table.rows
        return [Sheet("findings", findings.export_columns(rows), rows)]

    @on(Table.Moved)
    def moved(self) -> None:
        """Another one in full."""
        self._details()

    @on(Table.Chosen)
    def chosen(self) -> None:
        """Look at the leg."""
        finding = self._table.selected
        if finding is not None and finding.legs:
            self.request(messages.OpenLeg((self.tap, finding.legs[0])))

    def action_mark(self) -> None:
        """Figures since this moment."""
        self.request(messages.MarkMoment())


def one_in_full(finding: Finding, cells: int) -> Sequence[Line]:
    """Everything about one, a heading before each text."""
    lines: list[Line] = []
    room = max(20, cells - _HEADING)
    for heading, text, role in findings.details(finding):
        for at, part in enumerate(textwrap.wrap(text, room, break_on_hyphens=False)):
            lines.append((((heading if not at else "").ljust(_HEADING), "dim"), (part, role)))
    return lines
