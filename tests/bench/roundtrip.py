"""What vmlat adds to the round-trip time of a ping to the guest of the lab."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench.lab_bed import LabBed, Vmlat
from tests.bench.table import Row

_SHARE = 0.95
_RESAMPLES = 4000


@dataclass
class RoundTrips:
    """Milliseconds: the median of each block of pings, with and without vmlat in turns."""

    on: list[float] = field(default_factory=list)
    #: One more: each of the others lies between two of these.
    off: list[float] = field(default_factory=list)
    missing: int = 0

    def added(self) -> list[float]:
        """What each block with vmlat took longer than the two around it."""
        return [
            on - (before + after) / 2 for on, before, after in zip(self.on, self.off, self.off[1:])
        ]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Of the median, with a confidence of 95 %: by drawing the sample again and again."""
    draw = random.Random(1)
    medians = sorted(
        statistics.median(draw.choices(values, k=len(values))) for _ in range(_RESAMPLES)
    )
    left = int(_RESAMPLES * (1 - _SHARE) / 2)
    return medians[left], medians[-1 - left]


def measure(alternations: int, pings: int, gap_s: float = 0.01) -> RoundTrips:
    """Ping with vmlat and without, in turns."""
    found, bed = RoundTrips(), LabBed()
    vmlat = Vmlat(bed.vm)
    with vmlat.attached():
        bed.ping(pings)

    def block() -> float:
        bed.ping(10, gap_s)  # caches and clocks settle after probes came or went
        return bed.ping(pings, gap_s).median_ms

    found.off.append(block())
    for number in range(alternations):
        with vmlat.attached():
            found.on.append(block())
        found.missing += vmlat.missing
        found.off.append(block())
        print(f"{number + 1}: {found.on[-1]:.3f} ms, {found.off[-1]:.3f} without", flush=True)
    return found


def rows(found: RoundTrips) -> list[Row]:
    """The claims."""
    base, added = statistics.median(found.off), statistics.median(found.added())
    low, high = interval(found.added())
    return [
        Row("round trip without vmlat", f"{base:.3f} ms"),
        Row(
            "added by vmlat",
            f"{added:.3f} ms (95 %: {low:.3f} to {high:.3f})",
            note=f"{len(found.on)} alternations, {found.missing} packets not followed to the end",
        ),
        Row(
            "added / without vmlat",
            f"{added / base:.3f} (95 %: {low / base:.3f} to {high / base:.3f})",
        ),
    ]
