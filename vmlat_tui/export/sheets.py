"""What is on the screen as files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from vmlat_tui import safe_files
from vmlat_tui.export import formats
from vmlat_tui.export.exporter import Exporter, Page, Sheet


def _known() -> dict[str, type[Exporter]]:
    return {made.suffix: made for made in map(formats.exporter, formats.NAMES)}


def suffixes() -> list[str]:
    """Of the files that :func:`write` can make."""
    return list(_known())


def write(base: Path, title: str, facts: Mapping[str, str], sheets: Sequence[Sheet]) -> list[Path]:
    """Write a file by its suffix, or one in each format if it has none of ours.

    A file of that name is replaced.  Raises :class:`.UsageError` if one cannot be written.
    """
    known = _known()
    named = base.suffix in known
    paths = [base] if named else [base.with_name(base.name + suffix) for suffix in known]
    safe_files.make_directory(base.parent)
    for path in paths:
        content = io.StringIO()
        known[path.suffix](content).write(Page(title, facts, sheets))
        safe_files.write(path, content.getvalue().encode(errors="backslashreplace"))
    return paths
