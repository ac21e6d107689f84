"""Recorded sessions in the user's directory."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from textual import on
from textual.app import ComposeResult

from vmlat_tui.tables.columns import NAME, RATE, TEXT, Column
from vmlat_tui.tui import keys, messages
from vmlat_tui.tui.computed_screen import ComputedScreen
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.screen import kept
from vmlat_tui.tui.widgets.table import Table
from vmlat_tui.words import clean

#: A directory with more is none of recordings.
_MOST_ENTRIES = 5000


@dataclass(frozen=True)
class SessionRow:
    """A recording, or this host as it is now (no path)."""

    path: Optional[Path]
    changed_s: float
    size: int


def recordings(directory: Path) -> list[SessionRow]:
    """The recordings among the first entries of a directory, newest first."""
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in itertools.islice(entries, _MOST_ENTRIES):
                if not entry.name.endswith((".vmlat", ".vmlat.gz", ".jsonl", ".jsonl.gz")):
                    continue
                with contextlib.suppress(OSError):  # it is gone, or a link to nothing
                    status = entry.stat()
                    if stat.S_ISREG(status.st_mode):
                        row = SessionRow(Path(entry.path), status.st_mtime, status.st_size)
                        found.append(row)
    except OSError:
        pass
    return sorted(found, key=lambda row: -row.changed_s)


def _when(row: SessionRow) -> Optional[str]:
    if row.path is None:
        return None
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.changed_s))


_COLUMNS: tuple[Column[SessionRow], ...] = (
    Column("name", "session", 24, NAME, lambda r: r.path.name if r.path else "this host, live",
           0, 60),
    Column("when", "recorded", 19, TEXT, _when, 1),
    Column("size", "KiB", 8, RATE, lambda r: r.size / 1024 if r.path else None, 2),
)  # fmt: skip


@dataclass(frozen=True)
class SessionsContent:
    """What is in a directory."""

    rows: tuple[SessionRow, ...]
    directory: Path


def compute(context: Context, selection: str) -> SessionsContent:
    """The directory as it is now; ``selection`` is the pattern."""
    rows = [SessionRow(None, 0, 0)] if context.can_go_live else []
    rows += recordings(context.directory)
    return SessionsContent(kept(rows, _COLUMNS, selection), context.directory)


class SessionsScreen(ComputedScreen[str, SessionsContent]):
    """Enter replays one."""

    scope = "sessions"
    compute = staticmethod(compute)
    BINDINGS = keys.bindings("sessions")

    def body(self) -> ComposeResult:
        """One table."""
        yield Table(_COLUMNS, lambda r: r.path, id="sessions")

    def selection(self) -> str:
        """The pattern."""
        return self.pattern

    def paint(self, content: SessionsContent) -> None:
        """Show it."""
        title = ((" recordings ", "title"), (f"in {clean(str(content.directory))}", "dim"))
        self.query_one("#sessions", Table).show(
            content.rows, title, "none yet: R records the session that you see"
        )

    @on(Table.Chosen)
    def chosen(self, event: Table.Chosen) -> None:
        """Replay it, or go back to this host."""
        row = event.table.selected
        if isinstance(row, SessionRow):
            self.request(messages.Switch(row.path))
