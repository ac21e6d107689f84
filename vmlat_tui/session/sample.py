"""One leg in one interval, in as few bytes as it takes: a history holds a hundred thousand.

A sample is what a leg's cumulative histogram grew by between two readings.  It is a ``bytes``
object: count, sum and max of the interval, then the buckets in use.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Optional

from vmlat_tui.model.histogram import Histogram, bounds

#: (vNIC's device or "", leg id).
LegKey = tuple[str, str]

_HEAD = struct.Struct("=3Q")
_COUNT = (1 << 48) - 1


def grown(before: Histogram, after: Histogram) -> bytes:
    """The sample of what was counted in between.

    The maximum is exact if it rose in between, else the upper end of the highest bucket in use.
    """
    # For hundreds of legs with dozens of buckets, twice a second: one pass, nothing in between.
    old = before.buckets.get
    pairs = [b << 48 | c - old(b, 0) for b, c in after.buckets.items() if c > old(b, 0)]
    pairs.sort()
    if after.max_ns > before.max_ns:
        max_ns = after.max_ns
    else:
        max_ns = min(after.max_ns, bounds(pairs[-1] >> 48)[1] - 1) if pairs else 0
    count, sum_ns = after.count - before.count, after.sum_ns - before.sum_ns
    return _HEAD.pack(max(0, count), max(0, sum_ns), max_ns) + array("Q", pairs).tobytes()


class Samples(dict[LegKey, bytes]):
    """What each leg grew by in one interval.

    ``pooled`` is what a pool that ends with this interval has added up: it goes when this does.
    """

    def __init__(self) -> None:
        """Of no leg yet."""
        super().__init__()
        self.pooled: dict[LegKey, Optional[bytes]] = {}


class Pool:
    """Some intervals in a row as if they were one; each leg is added up once, when asked for.

    No other pool may end with the same interval.
    """

    def __init__(self, intervals: Sequence[Samples]) -> None:
        """One at least."""
        self._intervals = intervals
        self._together = intervals[-1].pooled

    def get(self, key: LegKey) -> Optional[bytes]:
        """The sample of a leg; None where no packet came by."""
        if key not in self._together:
            found = [samples[key] for samples in self._intervals if key in samples]
            self._together[key] = grown(Histogram(), merged(found)) if found else None
        return self._together[key]


@lru_cache(8192)
def median_ns(sample: bytes) -> int:
    """Half of its packets took at most this.  The screens ask for the same ones again and again."""
    return merged((sample,)).quantiles(0.5)[0]


def merged(samples: Iterable[bytes]) -> Histogram:
    """All of them together."""
    buckets: dict[int, int] = {}
    packets = total_ns = most_ns = 0
    for sample in samples:
        count, sum_ns, max_ns = _HEAD.unpack_from(sample)
        packets += count
        total_ns += sum_ns
        most_ns = max(most_ns, max_ns)
        for pair in memoryview(sample)[_HEAD.size :].cast("Q"):
            bucket = pair >> 48
            buckets[bucket] = buckets.get(bucket, 0) + (pair & _COUNT)
    return Histogram(packets, total_ns, most_ns, buckets)
