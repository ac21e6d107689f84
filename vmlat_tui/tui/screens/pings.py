"""Two environments: their round trips as bars over the path, the tables, the findings."""

from __future__ import annotations

import textwrap

from textual.app import ComposeResult

from vmlat_tui.analysis.comparison import Comparison, Line
from vmlat_tui.analysis.figures import Figure
from vmlat_tui.analysis.plan import REST, TOTAL
from vmlat_tui.tables import comparison as report
from vmlat_tui.tables.columns import TEXT, Column
from vmlat_tui.tui import keys
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.paint import Line as PaintedLine
from vmlat_tui.tui.paint import StyledText
from vmlat_tui.tui.screen import VmlatScreen, kept
from vmlat_tui.tui.widgets.lines import Lines
from vmlat_tui.tui.widgets.stack import GREW, drawing
from vmlat_tui.tui.widgets.table import Table
from vmlat_tui.words import clean


class PingsScreen(VmlatScreen):
    """One table at a time below the drawing."""

    scope = "pings"
    BINDINGS = keys.bindings("pings")
    CSS = """
    PingsScreen #bars { height: auto; padding: 0 1; }
    PingsScreen Table { border-top: $rule $border-blurred; }
    """

    def __init__(self, comparison: Comparison) -> None:
        """Of what was read before."""
        super().__init__()
        self._comparison = comparison
        self._sections = comparison.sections
        self._at = next((n for n, s in enumerate(self._sections) if s.id == "layers"), 0)
        self._columns = report.columns(comparison)

    def body(self) -> ComposeResult:
        """The drawing, then a table."""
        yield Lines("bars")
        yield Table(self._columns, self._key, id="comparison", emphasis=emphasis)

    @staticmethod
    def _key(line: Line) -> tuple[str, bool]:
        return line.item.id, line.beside

    def trust(self, context: Context) -> PaintedLine:
        """Of both environments."""
        return trust(self._comparison)

    def fill(self, context: Context) -> None:
        """Show it; the moment of the feed does not matter."""
        self.query_one("#bars", Lines).show(drawing(self._comparison, self.size.width - 2))
        table = self.query_one("#comparison", Table)
        if not self._sections:
            table.show((), (), "the two have no interval in common")
            return
        section = self._sections[self._at]
        title = (
            (f" {section.title}", "title"),
            (f"   table {self._at + 1} of {len(self._sections)}", "dim"),
        )
        rows = kept(section.lines, self._columns, self.pattern)
        table.show(rows, title, "no row has these words")

    def action_section(self, by: int) -> None:
        """Another table."""
        if self._sections:
            self._at = (self._at + by) % len(self._sections)
            self.refill()

    def action_findings(self) -> None:
        """What to look at."""
        self.app.push_screen(FindingsScreen(self._comparison))


class FindingsScreen(VmlatScreen):
    """Sentences, as rows that can be filtered, copied and exported."""

    scope = "findings"

    def __init__(self, comparison: Comparison) -> None:
        """Of a comparison."""
        super().__init__()
        self._comparison = comparison
        self._columns: tuple[Column[tuple[int, str]], ...] = (
            Column("finding", "what grew, and what to look at", 40, TEXT, lambda r: r[1], 0, 400),
        )

    def body(self) -> ComposeResult:
        """One table."""
        yield Table(self._columns, lambda r: r[0], id="findings")

    def trust(self, context: Context) -> PaintedLine:
        """Of both environments."""
        return trust(self._comparison)

    def fill(self, context: Context) -> None:
        """Show it, as wide as there is room."""
        rows: list[tuple[int, str]] = []
        for sentence in report.findings(self._comparison):
            indent = " " * (len(sentence) - len(sentence.lstrip()) + 2)
            parts = textwrap.wrap(
                sentence, max(20, self.size.width - 4), subsequent_indent=indent,
                break_on_hyphens=False,
            )  # fmt: skip
            rows += [(len(rows) + at, part) for at, part in enumerate(parts)]
        found = kept(rows, self._columns, self.pattern)
        title = ((" findings", "title"),)
        self.query_one("#findings", Table).show(found, title, "no finding has these words")


def emphasis(line: Line) -> tuple[str, str]:
    """What grew most, and what cannot be."""
    if line.negative:
        return "▼", "warn"
    grew = line.share is not None and line.share >= GREW and (line.difference_ns or 0) > 0
    if grew and line.item.id != TOTAL and not line.beside:
        return "▲", "bad"
    return "", "dim" if line.beside else ""


def trust(comparison: Comparison) -> PaintedLine:
    """How far to rely on it: packets that joined, and the remainder with its spread."""
    spans: list[StyledText] = []
    for side in (comparison.a, comparison.b):
        rest = side.figure(REST)
        joined = f"{len(side.rows)} packets" if side.rows else "from means"
        spans += [(f"{clean(side.name)} ", "dim"), (f"{joined}  ", "")]
        if rest is not None:
            role = "warn" if rest.negative else ""
            spans += [("remainder ", "dim"), (f"{_spread(rest)}   ", role)]
    return tuple(spans)


def _spread(figure: Figure) -> str:
    spread = "" if figure.spread_ns is None else f" ± {figure.spread_ns / 1000:.1f}"
    return f"{figure.mean_ns / 1000:+.1f}{spread} µs"
