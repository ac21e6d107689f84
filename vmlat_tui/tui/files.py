"""What leaves the program: recordings, the clipboard, exports."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from vmlat_tui.export import sheets
from vmlat_tui.tables.columns import table_lines
from vmlat_tui.tui.screen import VmlatScreen
from vmlat_tui.tui.widgets.prompt import Prompt
from vmlat_tui.words import wall_clock

if TYPE_CHECKING:
    from vmlat_tui.tui.app import VmlatApp


def record(app: VmlatApp) -> None:
    """Begin a recording with a name of its own, or end it."""
    path = app.moments[-1].recording
    if path:
        app.tell(f"recorded to {path}")
        app.feed.record(None)
    elif not app.live:
        app.tell("this is a recording already")
    else:
        app.feed.record(app.directory / f"{time.strftime('%Y%m%d-%H%M%S')}.vmlat.gz")


def copy(app: VmlatApp) -> None:
    """The row under the cursor, through the terminal's clipboard (OSC 52)."""
    table = app.screen.table() if isinstance(app.screen, VmlatScreen) else None
    if table is None or table.selected is None:
        app.tell("there is no row to copy")
        return
    line = table_lines(table.columns, [table.selected], 400)[1]
    app.copy_to_clipboard(" ".join(line.split()))
    app.tell("copied")


def ask_time(app: VmlatApp, screen: VmlatScreen) -> None:
    """Ask for a time of the recording and go there."""
    player = app.player
    if player is not None:

        def take(answer: str) -> None:
            app.run_worker(player.seek(player.moment(answer)), group="seek")

        screen.query_one(Prompt).ask("go to", "", take)


def ask_export(app: VmlatApp) -> None:
    """Ask for a name and write."""
    screen = app.screen
    if not isinstance(screen, VmlatScreen):
        return
    name = f"{screen.scope}-{time.strftime('%Y%m%d-%H%M%S')}"
    screen.query_one(Prompt).ask(
        "export to (.txt .md .json)",
        str(app.directory.parent / name),
        lambda answer: _export(app, screen, answer),
    )


def _export(app: VmlatApp, screen: VmlatScreen, name: str) -> None:
    now = app.place.now
    facts = {
        "host": now.topology.host if now.topology else "",
        "time": wall_clock(now.wall_ns),
        "figures": app.span_words,
        "filter": (now.acknowledged.filter_words if now.acknowledged else "") or "all",
        **screen.facts(),
    }
    title = " > ".join(("vmlat", *app.crumbs))
    written = sheets.write(Path(name).expanduser(), title, facts, screen.sheets())
    app.tell("wrote " + ", ".join(str(path) for path in written))
