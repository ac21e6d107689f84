"""How the results are shown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


def spread(values: Sequence[float], unit: str, digits: int = 0) -> str:
    """Median and, in brackets, the range over the rounds."""
    if not values:
        return "not measurable"
    middle = statistics.median(values)
    return f"{middle:.{digits}f} {unit} ({min(values):.{digits}f} to {max(values):.{digits}f})"


@dataclass(frozen=True)
class Row:
    """One claim: what, what came out, what was aimed at."""

    what: str
    result: str
    aim: str = ""
    note: str = ""

    @classmethod
    def aimed(cls, what: str, values: Sequence[float], aim: float, unit: str = "") -> Row:
        """A result that should be at most ``aim``."""
        if not values:
            return cls(what, "not measurable", f"at most {aim:g}")
        reached = statistics.median(values) <= aim
        return cls(
            what,
            spread(values, unit, 2).replace(" (", " (", 1),
            f"at most {aim:g} {unit}".rstrip(),
            "reached" if reached else "MISSED",
        )


def render(title: str, rows: Sequence[Row]) -> str:
    """A table for people."""
    widths = [
        max([len(getattr(row, name)) for row in rows], default=0)
        for name in ("what", "result", "aim")
    ]
    lines = [title]
    for row in rows:
        cells = zip((row.what, row.result, row.aim), widths)
        line = "  ".join(text.ljust(width) for text, width in cells)
        lines.append(f"  {line}  {row.note}".rstrip())
    return "\n".join(lines)
