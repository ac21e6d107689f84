"""JSON for programs: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from vmlat_tui.export.exporter import Exporter, Page, Part


class Format(Exporter):
    """Unrounded values; ASCII."""

    suffix = ".json"

    def part(self, part: Part) -> Iterator[str]:
        """Its objects."""
        return map(json.dumps, part.values())

    def page(self, page: Page) -> Iterator[str]:
        """One object, values under the ids of the columns; times in ns, shares 0 to 1."""
        tables = {
            sheet.id: [{c.id: _plain(c.value(row)) for c in sheet.columns} for row in sheet.rows]
            for sheet in page.sheets
        }
        yield json.dumps({"title": page.title, **page.facts, "tables": tables}, indent=1)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value)
