"""The one table: rows with an identity, columns that drop by priority, lines painted as needed.

Only the rows in sight are formatted, so ten thousand of them cost no more than a screenful.  The
selection is a row's identity, not its place.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, Optional, TypeVar

from textual import events
from textual.geometry import Size
from textual.message import Message

from vmlat_tui.tables.columns import UNKNOWN, Column, Scale, arrange
from vmlat_tui.tui import keys
from vmlat_tui.tui.paint import Line, StyledText
from vmlat_tui.tui.widgets.lines import LineView

Row = TypeVar("Row")
Key = Hashable


class Table(LineView, Generic[Row], can_focus=True):
    """A title line, a head line, then rows.  Texts of the title come from :meth:`show`."""

    DEFAULT_CSS = """
    Table { overflow: hidden auto; height: 1fr; }
    """
    BINDINGS = keys.bindings("table")

    class About(Message):
        """Something about a row."""

        def __init__(self, table: Table[Any], key: Key) -> None:
            """``key`` is the row's identity."""
            super().__init__()
            self.table = table
            self.key = key

        @property
        def control(self) -> Table[Any]:
            """The table."""
            return self.table

    class Chosen(About):
        """Enter was pressed on a row, or it was clicked twice."""

    class Moved(About):
        """The cursor is on another row."""

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        key: Callable[[Row], Key],
        *,
        id: Optional[str] = None,
        emphasis: Optional[Callable[[Row], tuple[str, str]]] = None,
        margin: int = 2,
    ) -> None:
        """``emphasis`` gives a row's glyph for the margin and the role of its texts."""
        super().__init__(id)
        self._columns = tuple(columns)
        #: So many columns stay; of the others so many are out of sight at the left.
        self._fixed, self._shift = 0, 0
        self._key = key
        self._emphasis = emphasis
        self._margin = margin
        self._rows: tuple[Row, ...] = ()
        self._keys: list[Key] = []
        self._at = 0
        self._selected: Optional[Key] = None
        self._title: Line = ()
        self._empty = ""
        self._marked: frozenset[Key] = frozenset()
        self._layout: tuple[tuple[Column[Row], int], ...] = ()
        self._scales: dict[str, Scale] = {}
        self._sort: Optional[tuple[str, bool]] = None

    # ---- data -----------------------------------------------------------------------------------

    def show(self, rows: Sequence[Row], title: Line = (), empty: str = "") -> None:
        """Show these rows; ``empty`` says why there are none."""
        self._title, self._empty = title, empty
        self._rows = self._ordered(rows)
        self._keys = [self._key(row) for row in self._rows]
        if self._selected is not None:
            try:
                self._at = self._keys.index(self._selected)
            except ValueError:
                pass
        self._at = max(0, min(self._at, len(self._rows) - 1))
        if self._rows:
            self._selected = self._keys[self._at]
        self._fit()
        self.repaint()

    def mark(self, keys: frozenset[Key]) -> None:
        """Show these rows as marked."""
        self._marked = keys
        self.repaint()

    @property
    def rows(self) -> tuple[Row, ...]:
        """In the order shown."""
        return self._rows

    @property
    def columns(self) -> tuple[Column[Row], ...]:
        """All of them, shown or not."""
        return self._columns

    def set_columns(self, columns: Sequence[Column[Row]], fixed: int) -> None:
        """Other columns from now on; the first ``fixed`` stay while the others are scrolled."""
        self._columns, self._fixed = tuple(columns), fixed
        self._fit()

    def scroll_columns(self, by: int) -> None:
        """Have so many columns more, or fewer, out of sight at the left."""
        if by < 0 or self.columns_in_sight[1] < len(self._columns) - self._fixed:
            self._shift = max(0, self._shift + by)
            self._fit()
            self.repaint()

    @property
    def columns_in_sight(self) -> tuple[int, int]:
        """From where to where, of the columns that are scrolled."""
        return self._shift, self._shift + max(0, len(self._layout) - self._fixed)

    @property
    def selected(self) -> Optional[Row]:
        """The row under the cursor."""
        return self._rows[self._at] if self._rows else None

    @property
    def height_wanted(self) -> int:
        """Lines that all rows with title and head need."""
        return len(self._rows) + self._top

    def select(self, key: Key) -> None:
        """Put the cursor on a row, now or when it comes."""
        self._selected = key
        if key in self._keys:
            self._at = self._keys.index(key)
            self._reveal()
        self.repaint()

    @property
    def sorting(self) -> Optional[tuple[str, bool]]:
        """The column and whether largest first; None for the order as given."""
        return self._sort

    def sort_by(self, column_id: Optional[str], descending: bool = True) -> None:
        """Sort by a column from now on; None keeps the order as given."""
        self._sort = None if column_id is None else (column_id, descending)
        self.show(self._rows, self._title, self._empty)

    def _ordered(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        if self._sort is None:
            return tuple(rows)
        column = next(c for c in self._columns if c.id == self._sort[0])

        # What is not known comes last, whichever way it is sorted.
        known = [row for row in rows if column.value(row) is not None]
        unknown = [row for row in rows if column.value(row) is None]
        return (*sorted(known, key=column.value, reverse=self._sort[1]), *unknown)

    # ---- lines ----------------------------------------------------------------------------------

    @property
    def _top(self) -> int:
        return 2 if self._title else 1

    @property
    def _room(self) -> int:
        return self.scrollable_content_region.width - self._margin

    def _fit(self) -> None:
        """Columns and scales for the width and the rows there are."""
        size = Size(self.size.width, len(self._rows) + self._top)
        if size != self.virtual_size:
            self.virtual_size = size
        self._layout = self._arranged(self._shift)
        while self._shift and len(self._arranged(self._shift - 1)) > len(self._layout):
            self._shift -= 1
            self._layout = self._arranged(self._shift)
        # A column's scale comes from the rows in sight and a screenful around them.
        height = max(self.size.height, 1)
        first = max(0, self._first - height)
        around = self._rows[first : first + 3 * height]
        self._scales = {c.id: c.scale(around, w) for c, w in self._layout}

    def _arranged(self, shift: int) -> tuple[tuple[Column[Row], int], ...]:
        left, others = self._columns[: self._fixed], self._columns[self._fixed + shift :]
        return arrange((*left, *others), self._room)

    @property
    def _first(self) -> int:
        return int(self.scroll_offset.y)

    def line(self, y: int) -> tuple[Line, str]:
        """Title, head, or a row."""
        if self._title and y == 0:
            return self._title, ""
        if y == self._top - 1:
            return self._head(), ""
        at = y - self._top + self._first
        if not self._rows and y == self._top:
            return ((" " * self._margin + self._empty, "dim"),), ""
        if not 0 <= at < len(self._rows):
            return (), ""
        return self._row(at)

    def _head(self) -> Line:
        parts: list[StyledText] = [(" " * self._margin, "")]
        for column, cells in self._layout:
            scale = self._scales.get(column.id, Scale())
            role = "head"
            if self._sort and self._sort[0] == column.id:
                role = "accent"
            parts += [(column.head(scale, cells), role), (" ", "")]
        return tuple(parts)

    def _row(self, at: int) -> tuple[Line, str]:
        row = self._rows[at]
        glyph, role = self._emphasis(row) if self._emphasis else ("", "")
        if self._keys[at] in self._marked:
            glyph, mark_role = "◆", "mark"
        else:
            mark_role = role
        parts: list[StyledText] = [(glyph.ljust(self._margin), mark_role)]
        for column, cells in self._layout:
            text = column.cell(row, self._scales.get(column.id, Scale()), cells)
            own = column.role(row) if column.role else ""
            if text.strip() == UNKNOWN:
                own = "faint"
            parts += [(text, own or role), (" ", "")]
        return _joined(parts[:-1]), "cursor" if at == self._at and self.has_focus else ""

    # ---- moving ---------------------------------------------------------------------------------

    def _move(self, to: int) -> None:
        if not self._rows:
            return
        at = max(0, min(to, len(self._rows) - 1))
        if at == self._at and self._selected == self._keys[at]:
            self._reveal()
            return
        self._at, self._selected = at, self._keys[at]
        self._reveal()
        self.repaint()
        self.post_message(self.Moved(self, self._selected))

    def _reveal(self) -> None:
        page = max(1, self.size.height - self._top)
        first = self._first
        if self._at < first:
            first = self._at
        elif self._at >= first + page:
            first = self._at - page + 1
        if first != self._first:
            self.scroll_to(y=first, animate=False, immediate=True)

    def action_cursor(self, lines: int) -> None:
        """Move by so many rows."""
        self._move(self._at + lines)

    def action_page(self, pages: float) -> None:
        """Move by a part of what is in sight."""
        self._move(self._at + int(pages * max(1, self.size.height - self._top)))

    def action_end(self, last: bool) -> None:
        """Move to the first or the last row."""
        self._move(len(self._rows) - 1 if last else 0)

    def action_choose(self) -> None:
        """Open the row under the cursor."""
        if self._rows and self._selected is not None:
            self.post_message(self.Chosen(self, self._selected))

    def on_click(self, event: events.Click) -> None:
        """A click selects, a second one opens."""
        at = event.y - self._top + self._first
        if event.y >= self._top and at < len(self._rows):
            self._move(at)
            if event.chain == 2:
                self.action_choose()

    def on_focus(self) -> None:
        """The cursor shows."""
        self.repaint()

    def on_blur(self) -> None:
        """The cursor is quiet."""
        self.repaint()

    def on_resize(self) -> None:
        """Another width has other columns."""
        self._fit()
        self._reveal()
        self.repaint()

    def watch_show_vertical_scrollbar(self) -> None:
        """The scrollbar takes a cell of the columns."""
        self._fit()
        self.repaint()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Only what is in sight has a scale."""
        super().watch_scroll_y(old_value, new_value)
        self._fit()


def _joined(parts: Sequence[StyledText]) -> Line:
    """Spans of one role together: fewer escape sequences on the wire."""
    joined: list[StyledText] = []
    for text, role in parts:
        if joined and (joined[-1][1] == role or not text.strip()):
            joined[-1] = (joined[-1][0] + text, joined[-1][1])
        else:
            joined.append((text, role))
    return tuple(joined)
