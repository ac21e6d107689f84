"""One number of a report with everything that says how far to trust it."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.model.readings import Average


class Basis(enum.Enum):
    """Where a figure comes from."""

    MEASURED = "measured"
    PACKETS = "derived, per packet"
    MEANS = "derived, from means"
    AVERAGE = "given average"
    PUBLISHED = "as published"


@dataclass(frozen=True)
class Figure:
    """Nanoseconds.  What is not known of an average that was only given is None."""

    mean_ns: float
    basis: Basis
    count: Optional[int] = None
    p50_ns: Optional[float] = None
    p90_ns: Optional[float] = None
    p99_ns: Optional[float] = None
    #: Standard deviation.
    spread_ns: Optional[float] = None
    least_ns: Optional[int] = None
    most_ns: Optional[int] = None

    @property
    def derived(self) -> bool:
        """Whether it was computed from other intervals."""
        return self.basis in (Basis.PACKETS, Basis.MEANS)

    @property
    def negative(self) -> bool:
        """No time is negative: end points overlap, or it is not the same packets."""
        return self.mean_ns < 0

    def value_ns(self, statistic: str) -> Optional[float]:
        """``mean``, ``p50``, ``p90`` or ``p99``."""
        value: Optional[float] = getattr(self, f"{statistic}_ns")
        return value


STATISTICS = ("mean", "p50", "p90", "p99")


def rank(ordered: Sequence[int], share: float) -> int:
    """Nearest-rank quantile of at least one value in rising order."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summary(values: Sequence[int], basis: Basis, count: int = 0, total_ns: int = 0) -> Figure:
    """Of at least one value; ``count`` and ``total_ns`` are of all where ``values`` is a sample."""
    ordered = sorted(values)
    count = count or len(ordered)
    mean = (total_ns or sum(ordered)) / count
    return Figure(
        mean,
        basis,
        count,
        rank(ordered, 0.5),
        rank(ordered, 0.9),
        rank(ordered, 0.99),
        math.sqrt(math.fsum((value - mean) ** 2 for value in ordered) / len(ordered)),
        ordered[0],
        ordered[-1],
    )


def given(average: Average) -> Figure:
    """Of an average."""
    p50, p90, p99 = average.quantiles_ns or (None, None, None)
    return Figure(average.mean_ns, Basis.AVERAGE, average.count, p50, p90, p99)
