"""Text for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from vmlat_tui.export.exporter import Document, Exporter, Page, Part
from vmlat_tui.tables.columns import table_lines
from vmlat_tui.words import clean

_WIDTH = 160


class Format(Exporter):
    """For a terminal or a mail."""

    suffix = ".txt"

    def __init__(self, stream: TextIO) -> None:
        """Nothing is written yet."""
        super().__init__(stream)
        self._begun = False

    def part(self, part: Part) -> Iterator[str]:
        """As it is laid out; a report is set off from what stands before."""
        document = part.document()
        if document is not None and self._begun:
            yield ""
        for line in part.text() if document is None else _report(document):
            self._begun = True
            yield line

    def page(self, page: Page) -> Iterator[str]:
        """No column is left out."""
        yield page.title
        yield from (f"{name}: {value}" for name, value in page.facts.items())
        for sheet in page.sheets:
            # Columns may grow to that width.
            room = max(_WIDTH, sum(column.width + 1 for column in sheet.columns))
            yield ""
            yield f"[{sheet.id}]"
            yield from table_lines(sheet.columns, sheet.rows, room)


def _report(document: Document) -> Iterator[str]:
    yield document.title
    yield ""
    for table in document.tables:
        yield from table.text()
        yield ""
    for prose in document.prose:
        yield prose.title
        yield from (f"  {line}" for line in prose.lines(clean))
        yield ""
    yield "Remarks"
    for remark in document.remarks:
        yield f"  {f'{remark.of}: ' if remark.of else ''}{remark.words}"
