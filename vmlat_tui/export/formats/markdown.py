"""Markdown, for a ticket."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vmlat_tui.export.exporter import Document, Exporter, Page, Part
from vmlat_tui.tables.columns import markdown_lines
from vmlat_tui.tables.grid import escaped
from vmlat_tui.words import clean


class Format(Exporter):
    """Reports as headings, tables and lists; what is laid out already as code."""

    suffix = ".md"

    def part(self, part: Part) -> Iterator[str]:
        """A report, or a block of code."""
        document = part.document()
        if document is not None:
            yield from _report(document)
            return
        text = "\n".join(part.text())
        if text:
            yield from _code(text)

    def page(self, page: Page) -> Iterator[str]:
        """Every column at its full width."""
        yield f"# {page.title}"
        yield ""
        yield from (f"- {name}: {value}" for name, value in page.facts.items())
        for sheet in page.sheets:
            yield ""
            yield f"## {sheet.id}"
            yield ""
            yield from markdown_lines(sheet.columns, sheet.rows)


def _code(text: str) -> Iterator[str]:
    """Nothing in it is markup, and nothing ends it."""
    fence = "`" * (1 + max(map(len, ["``", *re.findall("`+", text)])))
    yield fence
    yield text.strip("\n")
    yield fence
    yield ""


def _report(document: Document) -> Iterator[str]:
    yield f"## {escaped(document.title)}"
    yield ""
    for table in document.tables:
        yield from table.markdown()
        yield ""
    for prose in document.prose:
        yield f"### {prose.title}"
        yield ""
        yield from prose.lines(_harmless)
        yield ""
    yield "### Remarks"
    yield ""
    for remark in document.remarks:
        words = f"{f'{remark.of}: ' if remark.of else ''}{remark.words.strip()}"
        yield f"- {escaped(words)}"


def _harmless(name: str) -> str:
    return escaped(clean(name))
