"""What leaves the program: names of recordings, the row that is copied, exports."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from vmlat_tui import safe_files
from vmlat_tui.export import sheets
from vmlat_tui.tables.columns import table_lines
from vmlat_tui.tui.screen import VmlatScreen
from vmlat_tui.words import wall_clock


def _stamp() -> str:
    return time.strftime("%Y%m%d-%H%M%S")


def recording_path(directory: Path) -> Path:
    """Where a recording that begins now goes."""
    return directory / f"{_stamp()}.vmlat.gz"


def export_path(directory: Path, screen: VmlatScreen) -> Path:
    """Where an export that is made now is proposed to go, without a suffix."""
    return directory.parent / f"{screen.scope}-{_stamp()}"


def keep_defect(directory: Path, trace: str) -> Path:
    """Write the traceback of a defect; raises :class:`VmlatError`."""
    path = directory.parent / "defect.txt"
    safe_files.make_directory(path.parent)
    safe_files.write(path, trace.encode(errors="backslashreplace"))
    return path


def selected_line(screen: VmlatScreen) -> Optional[str]:
    """The row under the cursor, for the clipboard; None if there is none."""
    table = screen.table()
    if table is None or table.selected is None:
        return None
    line = table_lines(table.columns, [table.selected], 400)[1]
    return " ".join(line.split())


def export(screen: VmlatScreen, crumbs: Sequence[str], name: str) -> list[Path]:
    """Write what a screen shows; raises :class:`VmlatError`."""
    now, figures = screen.shown
    facts = {
        "host": now.topology.host if now.topology else "",
        "time": wall_clock(now.wall_ns),
        "figures": figures,
        "filter": (now.acknowledged.filter_words if now.acknowledged else "") or "all",
        **screen.facts(),
    }
    title = " > ".join(("vmlat", *crumbs))
    return sheets.write(Path(name).expanduser(), title, facts, screen.sheets())
