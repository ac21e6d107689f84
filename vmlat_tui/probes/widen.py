"""Histograms of the kernel, whose buckets are 32 bits wide, as numbers without end."""

from __future__ import annotations

from collections.abc import Hashable

from vmlat_tui.model.histogram import Histogram

_U32, _U64 = 1 << 32, 1 << 64


class Widener:
    """What histograms grew by from one reading to the next."""

    def __init__(self) -> None:
        self._before: dict[Hashable, Histogram] = {}
        #: Values counted and summed whose bucket is not known: so many came between two readings
        #: that a bucket began anew more than once.
        self.unplaced = 0

    def grown(self, key: Hashable, now: Histogram) -> Histogram:
        """What was counted since the last call with this key; the maximum is of all.

        The count is 64 bits wide and so tells how many values are in no bucket.
        """
        before = self._before.get(key) or Histogram()
        self._before[key] = now
        buckets = {
            bucket: (now.buckets.get(bucket, 0) - before.buckets.get(bucket, 0)) % _U32
            for bucket in now.buckets.keys() | before.buckets.keys()
        }
        count, sum_ns = now.count - before.count, (now.sum_ns - before.sum_ns) % _U64
        # The kernel counts on while it is read: only whole wraps are missing.
        self.unplaced += max(0, round((count - sum(buckets.values())) / _U32)) * _U32
        return Histogram(count, sum_ns, now.max_ns, buckets)

    def forget(self, key: Hashable) -> None:
        """What has this key begins at zero again."""
        self._before.pop(key, None)
