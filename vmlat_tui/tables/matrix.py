"""The same leg of several VMs side by side: a row for each leg, a column for each vNIC."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from vmlat_tui.model.legs import Leg, sort_key
from vmlat_tui.session.window import LegRow
from vmlat_tui.tables.columns import PERCENT, TEXT, TIME, Column, Form, Scale
from vmlat_tui.tables.legs import LegName
from vmlat_tui.tables.vnics import Measured
from vmlat_tui.words import clean

#: Cells of a VM: a number and the mark of the slowest.
_LEAST, _MOST, _MARK = 9, 16, 2


class CellValue(enum.Enum):
    """What stands in the cells."""

    P50 = "p50"
    P90 = "p90"
    P99 = "p99"
    SHARE = "share"

    @property
    def form(self) -> Form:
        """How it is written."""
        return PERCENT if self is CellValue.SHARE else TIME

    def of(self, row: LegRow) -> Optional[float]:
        """Nanoseconds, or a share from 0 to 1; None without packets and for the share of all."""
        if not row.count:
            return None
        if self is CellValue.SHARE:
            return None if row.total else row.share
        return {CellValue.P50: row.p50_ns, CellValue.P90: row.p90_ns, CellValue.P99: row.p99_ns}[
            self
        ]


@dataclass(frozen=True)
class MatrixRow:
    """One leg; ``values`` by vNIC, without those that had no packet there.

    ``worst`` is the vNIC that is slowest there, None if they are all the same.
    """

    leg: Leg
    values: Mapping[str, float]
    worst: Optional[str]

    @property
    def key(self) -> str:
        """Identity."""
        return self.leg.id


def _row(leg: Leg, rows: Mapping[str, LegRow], figure: CellValue) -> MatrixRow:
    figures = ((vnic, figure.of(row)) for vnic, row in rows.items())
    values = {vnic: value for vnic, value in figures if value is not None}
    most = [vnic for vnic, value in values.items() if value == max(values.values())]
    # Quantiles are as coarse as the buckets: of equal ones the mean decides, which is exact.
    worst = max(most, key=lambda vnic: rows[vnic].sum_ns / rows[vnic].count, default=None)
    return MatrixRow(leg, values, worst if len(most) < len(values) else None)


@dataclass(frozen=True)
class Matrix:
    """Rows in path order, total first in each direction; ``columns`` are for these rows only."""

    rows: tuple[MatrixRow, ...]
    columns: tuple[Column[MatrixRow], ...]
    unit: str


def matrix(found: Sequence[Measured], figure: CellValue) -> Matrix:
    """What was measured, with one unit for all cells."""
    by_leg: dict[Leg, dict[str, LegRow]] = {}
    for one in found:
        for row in one.legs:
            by_leg.setdefault(row.leg, {})[one.vnic] = row
    legs = sorted(by_leg, key=lambda leg: (leg.direction, leg.start is not None, sort_key(leg)))
    rows = tuple(_row(leg, by_leg[leg], figure) for leg in legs)
    every = [value for row in rows for value in row.values.values()]
    scale = figure.form.scale(every, _LEAST - _MARK)
    return Matrix(rows, (*_LEGS, *_columns(found, _OneScale(figure.form, scale))), scale.unit)


def spans(matrix: Matrix, count: int) -> Iterator[tuple[Column[MatrixRow], ...]]:
    """The columns in portions of so many vNICs, each with the columns of the leg."""
    vnics = matrix.columns[FIXED:]
    for at in range(0, len(vnics), count):
        yield (*_LEGS, *vnics[at : at + count])


class _OneScale(Form):
    """The same scale in all columns, so that cells of a row compare; the unit stands elsewhere."""

    right = True

    def __init__(self, form: Form, scale: Scale) -> None:
        self._form = form
        self._scale = scale

    def scale(self, values: Sequence[Any], width: int) -> Scale:
        """That of the matrix."""
        return Scale("", self._scale.divisor, self._scale.decimals)

    def text(self, value: Any, scale: Scale, width: int) -> str:
        """One number."""
        return self._form.text(value, scale, width)


class _VnicColumn(Column[MatrixRow]):
    """Numbers of one vNIC; a glyph before it marks the slowest of a row."""

    def cell(self, row: MatrixRow, scale: Scale, width: int) -> str:
        """The number, marked where it is the largest."""
        text = super().cell(row, scale, width)
        return f"▲ {text.lstrip()}".rjust(width) if row.worst == self.id else text


def _columns(found: Sequence[Measured], form: Form) -> Iterator[Column[MatrixRow]]:
    names = [one.vm for one in found]
    for at, one in enumerate(found):
        alone = names.count(one.vm) == 1 and one.vm != "?"
        yield _VnicColumn(
            id=one.vnic,
            title=clean(one.vm) if alone else f"{clean(one.vnic)} {clean(one.vm)}",
            width=_LEAST,
            form=form,
            value=lambda row, vnic=one.vnic: row.values.get(vnic),  # type: ignore[misc]
            priority=at + 1,
            most=_MOST,
            role=lambda row, vnic=one.vnic: "bad" if row.worst == vnic else "",  # type: ignore[misc]
        )


_LEGS: tuple[Column[MatrixRow], ...] = (
    Column("direction", "dir", 3, TEXT, lambda r: r.leg.direction.name),
    Column("leg", "leg", 13, LegName(), lambda r: r.leg, most=27, help="from point to point"),
)
#: Columns that stay when the others are scrolled.
FIXED = len(_LEGS)


def emphasis(row: MatrixRow) -> tuple[str, str]:
    """The total is a sum, not a leg."""
    if row.leg.start is None:
        return "", "strong"
    return "", "" if row.values else "dim"
