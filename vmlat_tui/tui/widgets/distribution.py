"""A distribution as lines: ranges of latency with bars, and their course over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vmlat_tui.model.histogram import Histogram
from vmlat_tui.tables.columns import TIME, bar
from vmlat_tui.tables.density import density
from vmlat_tui.tui.paint import Line
from vmlat_tui.words import fit

_RANGE, _COUNT, _GAP = 16, 9, 2


def distribution(
    total: Histogram,
    latest: Callable[[int], Sequence[Histogram]],
    cells: int,
    height: int,
    what: str,
    empty: str,
) -> list[Line]:
    """``height`` lines of ``cells``; ``latest`` gives so many intervals.

    ``what`` was counted; ``empty`` says that nothing was.
    """
    room = max(0, cells - _RANGE - _COUNT - 2 * _GAP)
    bars = room * 2 // 5
    rows = density(total, latest(room - bars), height - 1)
    if not rows:
        return [((empty, "dim"),)]
    most = max(row.count for row in rows) or 1
    scale = TIME.scale([row.high_ns for row in rows], 6)
    head = (
        fit(f"from .. to {scale.unit}", _RANGE, right=True)
        + fit(what, _COUNT, right=True)
        + " " * _GAP
    )
    lines: list[Line] = [
        ((head + fit("distribution", bars), "head"),
         (" " * _GAP + fit("over time, now at the right", room - bars, right=True), "head")),
    ]  # fmt: skip
    for row in rows:
        ends = (TIME.text(value, scale, 6) for value in (row.low_ns, row.high_ns))
        span = " .. ".join(f"{end:>6}" for end in ends)
        lines.append(
            (
                (fit(span, _RANGE), "dim"),
                (fit(str(row.count) if row.count else "", _COUNT, right=True), ""),
                (" " * _GAP + fit(bar(row.count / most, bars), bars), "bar"),
                (" " * _GAP + row.shades.rjust(room - bars), "spark"),
            )
        )
    return lines
