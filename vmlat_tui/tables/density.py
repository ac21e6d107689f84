"""A distribution beside its course over time, on one axis: rows are ranges of latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vmlat_tui.model.histogram import Histogram, bounds

_SHADES = " ░▒▓█"
#: Share of an interval's packets from which each shade begins.
_FROM = (0.0, 0.02, 0.10, 0.30)
#: Buckets of a row: from an eighth of an octave to two octaves.
_GROUPS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class DensityRow:
    """One range: how many packets, and a shade for each of the last intervals."""

    low_ns: int
    high_ns: int
    count: int
    shades: str


def density(total: Histogram, intervals: Sequence[Histogram], most_rows: int) -> list[DensityRow]:
    """Ranges from the slowest to the fastest in use, as fine as the room allows."""
    used = [b for h in (total, *intervals) for b in h.buckets]
    if not used:
        return []
    group = next(
        (g for g in _GROUPS if max(used) // g - min(used) // g < max(1, most_rows)), _GROUPS[-1]
    )
    counts = _grouped(total, group)
    columns = [(_grouped(h, group), h.count) for h in intervals]
    return [
        DensityRow(
            bounds(row * group)[0],
            bounds(row * group + group - 1)[1],
            counts.get(row, 0),
            "".join(_shade(column.get(row, 0), whole) for column, whole in columns),
        )
        for row in range(max(used) // group, min(used) // group - 1, -1)
    ]


def _grouped(histogram: Histogram, group: int) -> dict[int, int]:
    counts: dict[int, int] = {}
    for bucket, count in histogram.buckets.items():
        counts[bucket // group] = counts.get(bucket // group, 0) + count
    return counts


def _shade(count: int, whole: int) -> str:
    if not count:
        return _SHADES[0]
    share = count / max(1, whole)
    return _SHADES[sum(share >= least for least in _FROM)]
