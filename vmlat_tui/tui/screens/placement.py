"""Where one VM runs: a grid of its threads and interrupts against the CPUs, and what moved."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import NamedTuple, Optional

from textual import on
from textual.app import ComposeResult

from vmlat_tui.model.topology import Domain
from vmlat_tui.session.snapshot import Phase, Place
from vmlat_tui.tables import placement_words
from vmlat_tui.tables.placement import Mark, Placement, PlacementRow, RowKind
from vmlat_tui.tables.placement_grid import PlacementGrid, emphasis, grid
from vmlat_tui.tables.placement_rows import placement
from vmlat_tui.tables.placement_words import MOVE_COLUMNS, MoveRow, move_rows
from vmlat_tui.tui import keys, messages
from vmlat_tui.tui.computed_screen import ComputedScreen
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.paint import Line, StyledText
from vmlat_tui.tui.screen import kept
from vmlat_tui.tui.widgets.lines import Lines
from vmlat_tui.tui.widgets.table import Table
from vmlat_tui.words import clean, width

_MARGIN = 1
#: Lines that make sense for the moves: rule, title, head, two of them.
_MOVES = 5
#: Lines of everything but the two tables.
_AROUND = 11
_DRAWN = {Mark.HERE: "strong", Mark.ODD: "bad", Mark.SEEN: "accent", Mark.MAY: "dim"}


class PlacementSelection(NamedTuple):
    """Which VM and rows, and the width of the screen."""

    identity: str
    pattern: str
    cells: int


@dataclass(frozen=True)
class PlacementContent:
    """Everything that is shown; no ``placement`` where the VM does not run."""

    placement: Optional[Placement]
    grid: Optional[PlacementGrid]
    rows: tuple[PlacementRow, ...]
    facts: tuple[Line, ...]
    moves: tuple[MoveRow, ...]
    reach: str
    empty: str


def compute(context: Context, selection: PlacementSelection) -> PlacementContent:
    """Where the VM runs at this moment."""
    place, identity = context.place, selection.identity
    domain = next((d for d in _running(place) if _identity(d) == identity), None)
    shown = placement(place, domain) if domain else None
    if shown is None:
        return PlacementContent(None, None, (), (), (), "", _why_none(context, domain, identity))
    # One cell is the scrollbar's, whether it is there or not: columns stay where they are.
    columns = grid(shown, selection.cells - _MARGIN - 1)
    rows = kept(shown.rows, columns.columns, selection.pattern)
    keys = {row.key for row in rows}
    return PlacementContent(
        shown,
        columns,
        rows,
        tuple(_facts(shown, columns, selection.cells - 2)),
        tuple(move for move in move_rows(shown) if move.row.key in keys),
        placement_words.reach(shown),
        f"no row matches {clean(selection.pattern)}"
        if shown.rows
        else _why_none(context, domain, identity),
    )


def _why_none(context: Context, domain: Optional[Domain], identity: str) -> str:
    now = context.now
    if domain is not None:
        return "none of its threads is visible, and no interrupt of a NIC on its way"
    if now.topology is not None:
        gone = next((d for d in now.topology.domains if _identity(d) == identity), None)
        return f"it does not run: {gone.state.value}" if gone else "this VM is not known now"
    if now.problem is not None:
        return f"nothing is known about this host: {clean(str(now.problem))}"
    if now.phase is Phase.ENDED:
        return "the recording holds no topology of its host at this moment"
    return "looking at this host"


def _facts(shown: Placement, columns: PlacementGrid, cells: int) -> list[Line]:
    marks: list[StyledText] = []
    for mark, words in placement_words.legend(shown):
        marks += [(mark.glyph, _DRAWN[mark]), (f" {words}   ", "dim")]
    missing = placement_words.left_out(shown, columns.left_out)
    around = _wrapped(placement_words.surroundings(shown), cells)
    return [
        *(((line.rstrip(" ·"), ""),) for line in around),
        tuple(marks),
        *([((missing, "dim"),)] if missing else []),
    ]


class PlacementScreen(ComputedScreen[PlacementSelection, PlacementContent]):
    """One VM; the row under the cursor is put into words."""

    scope = "placement"
    compute = staticmethod(compute)
    AUTO_FOCUS = "#grid"
    BINDINGS = keys.bindings("placement")
    CSS = """
    PlacementScreen #facts { height: auto; padding: 0 1; }
    PlacementScreen #grid { height: 1fr; }
    PlacementScreen #details { height: 5; padding: 0 1; border-top: $rule $border-blurred; }
    PlacementScreen #moves { border-top: $rule $border-blurred; }
    """

    def __init__(self, domain: Domain) -> None:
        """Begin with this VM."""
        super().__init__()
        self._identity = _identity(domain)
        self._vm = domain.name

    @property
    def crumb(self) -> str:
        """Of which VM."""
        return f"placement of {clean(self._vm)}"

    def body(self) -> ComposeResult:
        """Facts, grid, the row in words, moves."""
        yield Lines("facts")
        yield Table((), lambda r: r.key, id="grid", emphasis=emphasis, margin=_MARGIN)
        yield Lines("details")
        yield Table(MOVE_COLUMNS, lambda r: r.key, id="moves", margin=_MARGIN)

    @property
    def _grid(self) -> Table[PlacementRow]:
        return self.query_one("#grid", Table)

    @property
    def _moves(self) -> Table[MoveRow]:
        return self.query_one("#moves", Table)

    # ---- showing ------------------------------------------------------------------------------

    def selection(self) -> PlacementSelection:
        """The VM, the pattern and the width."""
        return PlacementSelection(self._identity, self.pattern, self.size.width)

    def paint(self, content: PlacementContent) -> None:
        """Show where it runs."""
        self._grid.set_columns(content.grid.columns if content.grid else (), 1)
        if not self._grid.rows:
            threads = (row.key for row in content.rows if row.kind is not RowKind.HOST)
            self._grid.select(next(threads, None))
        self._grid.show(content.rows, _heading(content.grid), content.empty)
        self.query_one("#facts", Lines).show(content.facts)
        self._details()
        self._paint_moves(content)

    def _details(self) -> None:
        pane, row = self.query_one("#details", Lines), self._grid.selected
        shown = self.content.placement if self.content else None
        details = placement_words.details(shown, row) if shown and row else []
        cells = self.size.width - 2
        pane.show([((line, role),) for role, text in details for line in _wrapped(text, cells)])

    def _paint_moves(self, content: PlacementContent) -> None:
        moved = content.moves
        count = f" {len(moved)} move{'s' if len(moved) != 1 else ''}"
        title = ((count, "title"), (f"   {content.reach}, seen once a reading", "dim"))
        if content.placement is None or not content.placement.seconds:
            title = ((" moves", "title"), ("   nothing was read twice yet", "dim"))
        self._moves.show(moved, title, "nothing was seen to move")
        # The title alone says that nothing moved; else they get what the grid leaves.
        left = self.size.height - self._grid.height_wanted - _AROUND
        if left < _MOVES:
            left = 2 * _MOVES if self._moves.has_focus else 2
        wanted = self._moves.height_wanted + 1 if moved or self._moves.has_focus else 2
        self._moves.styles.height = min(wanted, left)

    def on_descendant_focus(self) -> None:
        """Where there is no room for both tables the one with the focus gets more."""
        self.call_after_refresh(self.paint_again)

    @on(Table.Moved, "#grid")
    def moved(self) -> None:
        """Another row, other words."""
        self._details()

    @on(Table.Chosen, "#moves")
    def chosen(self) -> None:
        """Go to what moved."""
        move = self._moves.selected
        if move is not None:
            self._grid.select(move.row.key)
            self._grid.focus()
            self._details()

    def facts(self) -> dict[str, str]:
        """Nodes, and what the marks mean."""
        shown = self.content.placement if self.content else None
        if shown is None:
            return {}
        marks = (f"{m.glyph} {words}" for m, words in placement_words.legend(shown))
        return {"placement": placement_words.surroundings(shown), "marks": ", ".join(marks)}

    # ---- keys ---------------------------------------------------------------------------------

    def action_other(self) -> None:
        """The other table."""
        (self._grid if self._moves.has_focus else self._moves).focus()

    def action_next_vm(self, by: int) -> None:
        """Another VM that runs."""
        every = sorted(_running(self.context.place), key=lambda d: (d.name, d.uuid or ""))
        at = next((n for n, d in enumerate(every) if _identity(d) == self._identity), -by)
        if len(every) < 2:
            self.request(messages.Tell("no other VM runs on this host"))
            return
        domain = every[(at + by) % len(every)]
        self._identity, self._vm = _identity(domain), domain.name
        self.refill()


def _identity(domain: Domain) -> str:
    return domain.uuid or domain.name


def _running(place: Place) -> list[Domain]:
    topology = place.now.topology
    return [d for d in topology.domains if d.pid is not None] if topology else []


def _wrapped(text: str, cells: int) -> list[str]:
    return textwrap.wrap(text, max(20, cells), subsequent_indent="  ", break_on_hyphens=False)


def _heading(columns: Optional[PlacementGrid]) -> Line:
    """The nodes over their CPUs, each as wide as they are."""
    if columns is None or not columns.groups:
        return (("", ""),)
    spans: list[StyledText] = []
    at = -_MARGIN
    for group, (start, cells) in zip(columns.groups, columns.spans):
        label = group.label(cells)
        left = cells - width(label)
        spans += [(" " * (start - at), ""), (label, "title")]
        spans.append((" " + "─" * (left - 1) if left > 2 else " " * left, "faint"))
        at = start + cells
    return tuple(spans)
