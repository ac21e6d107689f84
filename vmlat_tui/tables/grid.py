"""A table of a report: its columns are defined once, and read by text, Markdown and JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from vmlat_tui.tables.columns import UNKNOWN, Column, Form, Row, Scale
from vmlat_tui.words import fit, width


class Micro(Form):
    """Nanoseconds as microseconds, always, so that tables can be laid beside each other."""

    right = True

    def __init__(self, signed: bool = False) -> None:
        """``signed`` shows a plus as well."""
        self._sign = "+" if signed else ""

    def scale(self, values: Sequence[Any], width: int) -> Scale:
        """Microseconds."""
        return Scale("µs", 1000, 1)

    def text(self, value: Any, scale: Scale, width: int) -> str:
        """One digit after the point."""
        # Adding 0.0 makes a zero of a negative zero.
        return f"{round(value / scale.divisor, scale.decimals) + 0.0:{self._sign}.1f}"


class Times(Form):
    """A ratio."""

    right = True

    def text(self, value: Any, scale: Scale, width: int) -> str:
        """``2.5x``."""
        return f"{value:.1f}x"


class Share(Form):
    """A part of one, of either sign."""

    right = True

    def text(self, value: Any, scale: Scale, width: int) -> str:
        """``24 %``."""
        return f"{round(100 * value) + 0:d} %"


class Whole(Form):
    """A count with all its digits."""

    right = True


MICRO, SIGNED, TIMES, SHARE, WHOLE = Micro(), Micro(signed=True), Times(), Share(), Whole()


_MARKUP = re.compile(r"[\\`*_|\[\]]")


@dataclass(frozen=True)
class Grid(Generic[Row]):
    """``columns`` give the cells of ``rows``; ``note`` stands below."""

    id: str
    title: str
    columns: Sequence[Column[Row]]
    rows: Sequence[Row]
    note: str = ""

    def text(self) -> Iterator[str]:
        """Lines, every column as wide as its widest cell."""
        heads, cells = self._cells()
        widths = [
            max(map(width, [head, *(row[place] for row in cells)]))
            for place, head in enumerate(heads)
        ]
        yield self.title
        for row in [heads, *cells]:
            shown = (
                fit(cell, room, column.form.right)
                for cell, room, column in zip(row, widths, self.columns)
            )
            yield f"  {'  '.join(shown)}".rstrip()
        if self.note:
            yield f"  {self.note}"

    def markdown(self) -> Iterator[str]:
        """The same in Markdown."""
        heads, cells = self._cells()
        yield f"### {escaped(self.title)}"
        yield ""
        yield _bars(heads)
        yield "|" + "|".join(" ---: " if c.form.right else " --- " for c in self.columns) + "|"
        for row in cells:
            yield _bars(row)
        if self.note:
            yield ""
            yield escaped(self.note)

    def json(self) -> Iterator[dict[str, object]]:
        """One object per row, with the values themselves (nanoseconds)."""
        for row in self.rows:
            yield {
                "type": "row",
                "table": self.id,
                **{column.id: column.value(row) for column in self.columns},
            }

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        scales = [column.scale(self.rows, 0) for column in self.columns]
        heads = [f"{c.title} {s.unit}".strip() for c, s in zip(self.columns, scales)]
        return heads, [
            [_cell(column, row, scale) for column, scale in zip(self.columns, scales)]
            for row in self.rows
        ]


def _cell(column: Column[Row], row: Row, scale: Scale) -> str:
    value = column.value(row)
    return UNKNOWN if value is None else column.form.text(value, scale, 0)


def _bars(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escaped(cell.strip()) for cell in cells) + " |"


def escaped(text: str) -> str:
    """For Markdown: nothing in it is markup."""
    return _MARKUP.sub(r"\\\g<0>", text).replace("<", "&lt;")
