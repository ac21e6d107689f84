"""What formats make of what commands print."""

from __future__ import annotations

import io
import json
from typing import Any

from vmlat_tui.export import formats
from vmlat_tui.export.exporter import Part


def printed(*parts: Part, form: str = formats.TEXT) -> str:
    """In a format, as on standard output."""
    stream = io.StringIO()
    exporter = formats.exporter(form)(stream)
    for part in parts:
        exporter.write(part)
    return stream.getvalue()


def value_of(part: Part) -> dict[str, Any]:
    """The only object of a part, as a program gets it."""
    found: dict[str, Any] = json.loads(printed(part, form=formats.JSON))
    return found
