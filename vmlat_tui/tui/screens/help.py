"""The keys of the screen one came from; made from the table of keys, so it cannot be stale."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult

from vmlat_tui.tables.columns import TEXT, Column
from vmlat_tui.tui import keys
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.screen import VmlatScreen, kept
from vmlat_tui.tui.widgets.table import Table

Row = tuple[str, str, str]
_HEADINGS = {"table": "in lists", "app": "everywhere", "recording": "a replay"}
_COLUMNS: tuple[Column[Row], ...] = (
    Column("scope", "where", 11, TEXT, lambda r: r[0], 1, role=lambda r: "dim"),
    Column("key", "key", 8, TEXT, lambda r: r[1], 0, 10, lambda r: "key"),
    Column("words", "what it does", 30, TEXT, lambda r: r[2], 0, 90),
)
#: What the columns of the tables mean follows the keys.


class HelpScreen(VmlatScreen):
    """Keys and columns."""

    scope = "help"

    def __init__(self, scopes: Sequence[str], columns: Sequence[Column[object]]) -> None:
        """Of a screen with these scopes, its own first, and these columns."""
        super().__init__()
        self._scopes = scopes
        self._explained = columns

    def body(self) -> ComposeResult:
        """One table."""
        yield Table(_COLUMNS, lambda r: r, id="help")

    def fill(self, context: Context) -> None:
        """The same at every moment."""
        rows: list[Row] = [
            (_HEADINGS.get(scope, scope), key.label, key.words)
            for scope in (*self._scopes, "table", "app")
            for key in keys.KEYS.get(scope, ())
        ]
        rows += [
            ("column", column.title or column.id, column.help)
            for column in self._explained
            if column.help
        ]
        title = ((" keys and columns of ", "title"), (self._scopes[0], "title"))
        self.query_one("#help", Table).show(kept(rows, _COLUMNS, self.pattern), title)
