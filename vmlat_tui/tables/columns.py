"""Columns of tables: one definition each, read by the screens, the text and the exports.

A *form* turns the values of a column into text.  It chooses one scale for all of them, so a
column has one unit, which stands in its head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Optional, TypeVar

from vmlat_tui.words import clean, fit

Row = TypeVar("Row")

_DECIMAL = (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9))
_SPARKS = " ▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
#: Digits of the largest number of a column.
_SIGNIFICANT = 4
#: What stands for a value that is not known.
UNKNOWN = "–"


@dataclass(frozen=True)
class Scale:
    """Unit, what it is divided by, and the digits after the point, the same in a column."""

    unit: str = ""
    divisor: float = 1
    decimals: int = 0


class Form:
    """Text as it is."""

    right = False

    def scale(self, values: Sequence[Any], width: int) -> Scale:
        """One scale for all values; ``values`` has no None."""
        return Scale()

    def text(self, value: Any, scale: Scale, width: int) -> str:
        """One value that is not None."""
        return str(value)


class Name(Form):
    """A name from outside."""

    def text(self, value: Any, scale: Scale, width: int) -> str:
        """Without anything a terminal would obey."""
        return clean(value)


class Number(Form):
    """A number with the largest unit and as many decimals as fit the largest of the column."""

    right = True

    def __init__(self, units: Sequence[tuple[str, float]] = _DECIMAL, digits: int = 2) -> None:
        """``units`` are (name, size) from small to large, ``digits`` after the point at most."""
        self._units = tuple(units)
        self._digits = digits

    def scale(self, values: Sequence[Any], width: int) -> Scale:
        """The smallest unit in which the largest value fits."""
        largest = max((abs(v) for v in values), default=0)
        fitting = (u for u in self._units if len(f"{largest / u[1]:.0f}") <= width)
        unit, size = next(fitting, self._units[-1])
        whole = len(str(int(largest / size)))
        decimals = max(0, min(self._digits, width - whole - 1, _SIGNIFICANT - whole))
        # Rounding may carry into one digit more.
        if decimals and len(f"{largest / size:.{decimals}f}") > width:
            decimals -= 1
        return Scale(unit, size, decimals)

    def text(self, value: Any, scale: Scale, width: int) -> str:
        """The number in the column's unit."""
        return f"{value / scale.divisor:.{scale.decimals}f}"


class Bar(Form):
    """A share (0 to 1) as a bar."""

    def text(self, value: Any, scale: Scale, width: int) -> str:
        """Eighths of a cell."""
        return bar(value, width)


class Spark(Form):
    """A sequence of values, None where there was none, as blocks."""

    def text(self, value: Any, scale: Scale, width: int) -> str:
        """The newest values that fit."""
        return spark(value, width)


TEXT = Form()
NAME = Name()
TIME = Number((("µs", 1e3), ("ms", 1e6), ("s", 1e9)))
COUNT = Number(digits=0)
RATE = Number(digits=1)
PERCENT = Number((("%", 0.01),), digits=1)
BAR = Bar()
SPARK = Spark()


def bar(share: float, width: int) -> str:
    """A share as a bar of at most ``width`` cells."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def spark(values: Iterable[Optional[float]], width: int) -> str:
    """Blocks, newest at the right: the least is the lowest, and only half as much again is high.

    So what is steady is a calm line, and what is not stands up from it.
    """
    shown = list(values)[-width:] if width else []
    known = [v for v in shown if v is not None]
    if not known:
        return " " * width
    least, most = min(known), max(known)
    reach = max(most - least, least / 2) or 1
    blocks = (" " if v is None else _SPARKS[1 + round(7 * (v - least) / reach)] for v in shown)
    return "".join(blocks).rjust(width)


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column.

    ``priority`` says what goes first when room is short: the largest; 0 always stays.  ``most`` is
    the width that it may grow to.  ``role`` names how a cell is drawn.
    """

    id: str
    title: str
    width: int
    form: Form
    value: Callable[[Row], Any]
    priority: int = 0
    most: Optional[int] = None
    role: Optional[Callable[[Row], str]] = None
    help: str = ""

    def head(self, scale: Scale, width: int) -> str:
        """Title with the unit."""
        title = f"{self.title} {scale.unit}".strip()
        return fit(title, width, self.form.right)

    def cell(self, row: Row, scale: Scale, width: int) -> str:
        """One cell in exactly so many cells of the terminal."""
        value = self.value(row)
        text = UNKNOWN if value is None else self.form.text(value, scale, width)
        return fit(text, width, self.form.right)

    def scale(self, rows: Iterable[Row], width: int) -> Scale:
        """One scale for these rows."""
        return self.form.scale([v for v in map(self.value, rows) if v is not None], width)


def arrange(
    columns: Sequence[Column[Row]], room: int, gap: int = 1
) -> tuple[tuple[Column[Row], int], ...]:
    """The columns that fit and their widths; what is left goes to those that may grow, in order."""
    kept = list(columns)

    def used() -> int:
        return sum(c.width for c in kept) + gap * (len(kept) - 1)

    while used() > room and any(c.priority for c in kept):
        kept.remove(max(reversed(kept), key=lambda c: c.priority))
    widths = {c.id: c.width for c in kept}
    left = room - used()
    for column in kept:
        more = max(0, min(left, (column.most or column.width) - column.width))
        widths[column.id] += more
        left -= more
    return tuple((c, widths[c.id]) for c in kept)


def table_lines(columns: Sequence[Column[Row]], rows: Sequence[Row], room: int) -> list[str]:
    """A table as plain lines: the head, then the rows."""
    arranged = arrange(columns, room)
    scales = {c.id: c.scale(rows, width) for c, width in arranged}
    head = " ".join(c.head(scales[c.id], width) for c, width in arranged)
    return [
        head.rstrip(),
        *(
            " ".join(c.cell(row, scales[c.id], width) for c, width in arranged).rstrip()
            for row in rows
        ),
    ]


def markdown_lines(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> list[str]:
    """A table in Markdown, every column at its full width."""
    shown = [(c, c.most or c.width) for c in columns]
    scales = {c.id: c.scale(rows, width) for c, width in shown}

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.strip().replace("|", "\\|") for cell in cells) + " |"

    return [
        line(c.head(scales[c.id], 40) for c, _ in shown),
        "|" + "|".join(" ---: " if c.form.right else " --- " for c, _ in shown) + "|",
        *(line(c.cell(row, scales[c.id], width) for c, width in shown) for row in rows),
    ]
