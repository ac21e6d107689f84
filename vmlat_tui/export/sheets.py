"""What is on the screen as a file: text, Markdown, JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmlat_tui import safe_files
from vmlat_tui.tables.columns import Column, markdown_lines, table_lines

SUFFIXES = (".txt", ".md", ".json")
_WIDTH = 160


@dataclass(frozen=True)
class Sheet:
    """A table as it stands on the screen: all columns, the rows that the filter leaves."""

    id: str
    columns: Sequence[Column[Any]]
    rows: Sequence[Any]


def write(base: Path, title: str, facts: Mapping[str, str], sheets: Sequence[Sheet]) -> list[Path]:
    """Write a file by its suffix, or one of each kind if it has none of ours.

    A file of that name is replaced.  Raises :class:`.UsageError` if one cannot be written.
    """
    named = base.suffix in SUFFIXES
    paths = [base] if named else [base.with_name(base.name + suffix) for suffix in SUFFIXES]
    made = {".txt": text, ".md": markdown, ".json": as_json}
    safe_files.make_directory(base.parent)
    for path in paths:
        content = made[path.suffix](title, facts, sheets)
        safe_files.write(path, content.encode(errors="backslashreplace"))
    return paths


def text(title: str, facts: Mapping[str, str], sheets: Sequence[Sheet]) -> str:
    """For a terminal or a mail."""
    lines = [title, *(f"{name}: {value}" for name, value in facts.items())]
    for sheet in sheets:
        # Columns may grow to that width, but none is left out.
        room = max(_WIDTH, sum(column.width + 1 for column in sheet.columns))
        lines += ["", f"[{sheet.id}]", *table_lines(sheet.columns, sheet.rows, room)]
    return "\n".join(lines) + "\n"


def markdown(title: str, facts: Mapping[str, str], sheets: Sequence[Sheet]) -> str:
    """For a ticket."""
    lines = [f"# {title}", "", *(f"- {name}: {value}" for name, value in facts.items())]
    for sheet in sheets:
        lines += ["", f"## {sheet.id}", "", *markdown_lines(sheet.columns, sheet.rows)]
    return "\n".join(lines) + "\n"


def as_json(title: str, facts: Mapping[str, str], sheets: Sequence[Sheet]) -> str:
    """For a program: unrounded values under the ids of the columns; times in ns, shares 0 to 1."""
    tables = {
        sheet.id: [{c.id: _plain(c.value(row)) for c in sheet.columns} for row in sheet.rows]
        for sheet in sheets
    }
    return json.dumps({"title": title, **facts, "tables": tables}, indent=1) + "\n"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value)
